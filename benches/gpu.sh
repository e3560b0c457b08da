#!/usr/bin/env bash
# Tests and measures a card: the laws of the devices and whole proofs against the CPU, NVIDIA's checker
# where it is installed, the ceilings of the card, then `rollmill-bench run`. Needs a driver; no network, no
# compiler. Takes its programs from its own folder (see benches/gpu-bundle.sh) or, in a checkout, makes
# them with cargo. Writes results/DEVICE/DATE.json beside itself, in under ten minutes.
#
# usage: benches/gpu.sh [--device N] [--sizes FROM..TO] [--out FOLDER] [--quick]
#
# Exit status: 0 all passed and measured; 1 a test failed; 2 wrong usage; 3 no driver or no card.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
began=$(date +%s)

device=0
sizes=
out=$here/results
quick=no
command="$0 $*"
while [ $# -gt 0 ]; do
    case $1 in
    --device | --sizes | --out)
        [ $# -ge 2 ] || { echo "gpu: $1 needs a value" >&2; exit 2; }
        case $1 in
        --device) device=$2 ;;
        --sizes) sizes=$2 ;;
        --out) out=$2 ;;
        esac
        shift 2
        ;;
    --quick)
        quick=yes
        shift
        ;;
    *)
        sed -n 's/^# usage: /usage: /p' "$0" >&2
        exit 2
        ;;
    esac
done

say() {
    echo "gpu: $*" >&2
}

# A driver is a library; whether it works is what the bench finds out. In containers it may lie where
# the loader does not look by itself.
driver_library() {
    ldconfig -p 2>/dev/null | grep -q 'libcuda\.so' && return
    local folder extra
    IFS=: read -r -a extra <<<"${LD_LIBRARY_PATH:-}"
    for folder in "${extra[@]}" /usr/lib/x86_64-linux-gnu /usr/lib64 /usr/local/nvidia/lib64 \
        /usr/lib/wsl/lib; do
        if [ -e "$folder/libcuda.so" ] || [ -e "$folder/libcuda.so.1" ]; then
            export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
            return
        fi
    done
    return 1
}

if ! driver_library; then
    say "no driver: libcuda was not found on this machine; install NVIDIA's driver, version 580 or later"
    exit 3
fi

if [ -x "$here/rollmill-bench" ] && [ -x "$here/hardware" ]; then
    bench=$here/rollmill-bench
    hardware=$here/hardware
    commit=$(tr '\n' ' ' <"$here/commit" | sed 's/ $//')
else
    say "no programs beside this script: making them with cargo"
    bundle=$(mktemp -d)
    trap 'rm -rf "$bundle"' EXIT
    "$here/gpu-bundle.sh" "$bundle/bundle.tar.gz" >&2
    tar -C "$bundle" -xzf "$bundle/bundle.tar.gz"
    bench=$bundle/rollmill-gpu/rollmill-bench
    hardware=$bundle/rollmill-gpu/hardware
    commit=$(tr '\n' ' ' <"$bundle/rollmill-gpu/commit" | sed 's/ $//')
fi

cards=$("$bench" devices 2>/dev/null | grep '^cuda:' || true)
card=$(printf '%s\n' "$cards" | sed -n "s/^cuda:$device	//p")
if [ -z "$card" ]; then
    say "no card cuda:$device; there are: ${cards:-none}"
    # Says why, if the driver itself is at fault.
    "$bench" run --device "cuda:$device" --fallback require --only field >&2 || true
    exit 3
fi
say "card cuda:$device: $card"

# A value as a JSON string.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# What the driver's own tool knows, or nothing.
known() {
    nvidia-smi --id="$device" --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1 || true
}

failed=0
# Runs one step under a time limit; notes whether it passed.
step() {
    local name=$1 limit=$2 status=0
    shift 2
    say "$name"
    timeout "$limit" "$@" >"$work/$name.log" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        steps="$steps${steps:+, }\"$name\": \"passed\""
    elif [ "$status" -eq 124 ] && [ "$name" = sanitizer ]; then
        # It makes kernels many times slower.
        steps="$steps, \"$name\": \"not finished in $limit s\""
    else
        failed=1
        steps="$steps${steps:+, }\"$name\": \"failed ($status)\""
        say "$name failed with status $status:"
        tail -n 20 "$work/$name.log" >&2
    fi
    return 0
}

# Measures some groups under a time limit.
measure() {
    step "$1" "$3" env ROLLMILL_CACHE="$work/cache" "$bench" run --device "cuda:$device" \
        --fallback require --only "$2" --peers none --sizes "${sizes:-16..$most}" --runs "$runs" --json "$work/$1.json"
    cat "$work/$1.log"
}

# The figures of `measure`, or null.
figures() {
    printf '  "%s": ' "$(printf '%s' "$1" | tr - _)"
    if [ -s "$work/$1.json" ]; then
        cat "$work/$1.json"
    else
        echo null
    fi
}

work=$(mktemp -d)
trap 'rm -rf "$work" ${bundle:+"$bundle"}' EXIT
steps=
export REQUIRE_GPU=1 GPU=$device

before=$(known clocks.sm,clocks.mem,temperature.gpu,power.draw)
step laws 150 "$hardware" --exact a_card_obeys_every_law
step proofs 120 "$hardware" --exact a_card_gives_the_cpus_proofs_byte_for_byte
step rates 60 "$hardware" --exact a_card_says_how_fast_it_is --nocapture
rates=$(sed -n 's/.*rates: //p' "$work/rates.log")

sanitizer=$(command -v compute-sanitizer || true)
[ "$quick" = no ] || sanitizer=
# Seconds in all, of which the sanitizer has the rest after the benches.
all=570
kept=0
[ -z "$sanitizer" ] || kept=120
left() {
    echo $((all - kept - ($(date +%s) - began)))
}

# A card that computes wrongly is not worth measuring.
if [ "$failed" -eq 0 ]; then
    runs=11
    most=22
    # Points and expected sums are made on the host.
    [ "$(nproc)" -ge 8 ] || most=20
    [ "$quick" = yes ] && { most=16; runs=3; }
    # A step each, so that one which takes too long does not lose the figures of the other.
    measure bench field,msm,ntt "$(($(left) * 2 / 3))"
    measure bench-proofs proof "$(left)"
fi
kept=0
if [ -n "$sanitizer" ]; then
    step sanitizer "$(left)" "$sanitizer" --error-exitcode 9 "$hardware" --exact a_card_obeys_every_law
else
    steps="$steps, \"sanitizer\": \"not run\""
fi
after=$(known clocks.sm,clocks.mem,temperature.gpu,power.draw)

name=$(printf '%s' "${card%% GPU-*}" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9]\{1,\}/-/g; s/^-//; s/-$//')
mkdir -p "$out/$name"
file=$out/$name/$(date -u +%Y-%m-%dT%H%M%SZ).json
{
    printf '{\n  "card": %s,\n' "$(quoted "$card")"
    printf '  "driver": %s,\n' "$(quoted "$(known driver_version)")"
    printf '  "memory_total_used": %s,\n' "$(quoted "$(known memory.total,memory.used)")"
    printf '  "clocks_max_sm_mem": %s,\n' "$(quoted "$(known clocks.max.sm,clocks.max.mem)")"
    printf '  "sm_mem_clock_temperature_power_before": %s,\n' "$(quoted "$before")"
    printf '  "sm_mem_clock_temperature_power_after": %s,\n' "$(quoted "$after")"
    printf '  "commit": %s,\n' "$(quoted "$commit")"
    printf '  "command": %s,\n' "$(quoted "$command")"
    printf '  "unix_seconds": %s,\n  "seconds": %s,\n' "$began" "$(($(date +%s) - began))"
    printf '  "steps": {%s},\n' "$steps"
    printf '  "rates": %s,\n' "${rates:-null}"
    figures bench
    printf '  ,\n'
    figures bench-proofs
    printf '}\n'
} >"$file"
say "wrote $file"
exit "$failed"
