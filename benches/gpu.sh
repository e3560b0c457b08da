#!/usr/bin/env bash
# Tests and measures a card in at most eight minutes, what tells most first: the laws of the devices, whole proofs against
# the CPU's, proofs at once, then `rollmill-bench run`, NVIDIA's profiler and checker where they are installed. Needs a
# driver (580 or later, or 535 if the bundle was made with --cuda12); no network, no compiler. Takes its programs from its
# own folder (see benches/gpu-bundle.sh) or, in a checkout, makes them with cargo.
#
# usage: benches/gpu.sh [--device N] [--out FOLDER] [--budget SECONDS] [--step-limit SECONDS] [--small]
#
#   --out          [$OUT, else results/CARD/DATE beside this script]
#   --budget       all steps together [480]
#   --step-limit   any step; for rehearsals [none]
#   --small        sizes that an emulated driver does in time; see benches/gpu-rehearsal.sh
#
# Whatever ends it, FOLDER holds what was measured before: result.json and steps.txt, written again after each step,
# logs.tar.gz with the output of the steps, and log/, where a bench writes each figure as it measures it.
#
# Exit status: 0 all passed; 1 a test failed or computed wrongly; 2 wrong usage, or a program that it needs is missing;
# 3 no driver or no card.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
began=$(date +%s)

device=0
out=${OUT:-}
budget=480
most=
small=no
command="$0 $*"
while [ $# -gt 0 ]; do
    case $1 in
    --device | --out | --budget | --step-limit)
        [ $# -ge 2 ] || { echo "gpu: $1 needs a value" >&2; exit 2; }
        case $1 in
        --device) device=$2 ;;
        --out) out=$2 ;;
        --budget) budget=$2 ;;
        --step-limit) most=$2 ;;
        esac
        shift 2
        ;;
    --small)
        small=yes
        shift
        ;;
    *)
        sed -n 's/^# usage: /usage: /p' "$0" >&2
        exit 2
        ;;
    esac
done
for number in "$budget" ${most:+"$most"}; do
    case $number in
    *[!0-9]* | '') echo "gpu: $number is no number of seconds" >&2; exit 2 ;;
    esac
done

say() {
    echo "gpu: $*" >&2
}

# Without `timeout` every step would fail, and nothing would hold to its limit.
for program in awk grep gzip sed tar timeout; do
    command -v "$program" >/dev/null || { say "the program $program is missing on this machine"; exit 2; }
done

# A driver is a library; whether it works is what the steps find out. In containers it may lie where the loader does not
# look by itself. `grep -c` reads to the end, so that ldconfig is not killed while it writes.
driver_library() {
    ldconfig -p 2>/dev/null | grep -c 'libcuda\.so' >/dev/null && return
    local folder extra
    IFS=: read -r -a extra <<<"${LD_LIBRARY_PATH:-}"
    for folder in ${extra[@]+"${extra[@]}"} /usr/lib/x86_64-linux-gnu /usr/lib64 /usr/local/nvidia/lib64 \
        /usr/local/nvidia/lib /usr/lib/wsl/lib; do
        if [ -e "$folder/libcuda.so" ] || [ -e "$folder/libcuda.so.1" ]; then
            export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
            return
        fi
    done
    return 1
}

# One of NVIDIA's tools, which are often not on the path; nothing where it is not installed.
tool() {
    command -v "$1" && return
    local path
    for path in /usr/local/cuda/bin/"$1" /usr/local/cuda-*/bin/"$1" /opt/cuda/bin/"$1" /opt/nvidia/*/"$1" \
        /opt/nvidia/*/*/"$1" /usr/local/cuda*/compute-sanitizer/"$1" /usr/local/cuda*/nsight-compute*/"$1"; do
        [ -x "$path" ] && echo "$path" && return
    done
    return 1
}

if ! driver_library; then
    say "no driver: libcuda was not found on this machine; install NVIDIA's driver, version 580 or later"
    exit 3
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -x "$here/rollmill-bench" ] && [ -x "$here/hardware" ]; then
    programs=$here
else
    say "no programs beside this script: making them with cargo"
    "$here/gpu-bundle.sh" "$work/bundle.tar.gz" >&2 && tar -C "$work" -xzf "$work/bundle.tar.gz" || exit 1
    programs=$work/rollmill-gpu
    # Building is not part of the time on the card.
    began=$(date +%s)
fi
bench=$programs/rollmill-bench
hardware=$programs/hardware
commit=$(tr '\n' ' ' <"$programs/commit" | sed 's/ $//')

# A driver that hangs does so here first.
card=$(timeout -k 3 60 "$bench" devices 2>"$work/devices" | sed -n "s/^cuda:$device	//p")
if [ -z "$card" ]; then
    say "no card cuda:$device, or the programs do not start here (they need glibc $(cat "$programs/glibc" 2>/dev/null)):"
    cat "$work/devices" >&2
    # Names the driver's fault, if it has one.
    timeout -k 3 20 "$bench" run --device "cuda:$device" --fallback require --only field --peers none >&2
    exit 3
fi
say "card cuda:$device: $card"

if [ -z "$out" ]; then
    name=$(printf '%s' "${card%% GPU-*}" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9]\{1,\}/-/g; s/^-//; s/-$//')
    out=$here/results/$name/$(date -u +%Y-%m-%dT%H%M%SZ)
fi
log=$out/log
if [ -e "$out/steps.txt" ]; then
    say "$out has the results of another run; choose another --out"
    exit 2
fi
mkdir -p "$log" || exit 2
# Keys and compiled kernels lie outside of what is packed.
export ROLLMILL_CACHE=$work/cache REQUIRE_GPU=1 GPU=$device
[ "$small" = no ] || export GPU_SMALL=1

# A value as a JSON string.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# What the driver's own tool knows, or nothing. It may count cards in another order, so that it is told the UUID.
uuid=$(printf '%s' "$card" | grep -o 'GPU-[0-9a-f-]*' | tail -n 1)
known() {
    timeout -k 1 5 nvidia-smi --id="${uuid:-$device}" --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -n 1
}

# Everything that needs the output of a program is found out here: where a signal arrives in a command substitution, bash
# may fail to read the handler. From the trap on there is none.
driver=$(known driver_version)
# Drivers before 580 do not load what CUDA 13 compiled. Where the version is not known, the built-in image is tried.
major=$(printf '%s' "${driver%%.*}" | tr -cd 0-9)
if [ -s "$programs/kernels-cuda12.fatbin" ] && [ -n "$major" ] && [ "$major" -lt 580 ]; then
    export ROLLMILL_AGENT_CUDA_IMAGE=$programs/kernels-cuda12.fatbin
    say "driver $driver: kernels compiled by CUDA 12"
fi
driver=$(quoted "$driver")
memory=$(quoted "$(known memory.total)")
card=$(quoted "$card")
commit=$(quoted "$commit")
command=$(quoted "$command")
tests=$("$hardware" --list 2>/dev/null | sed -n 's/: test$//p')
ncu=$(tool ncu)
sanitizer=$(tool compute-sanitizer)
# The quotient is the longest of the row kernels.
quotient=$(awk -F'"' '/^    "rows_/ { name = $2 }
    /"sm_90"/ && name != "" {
        match($0, /"instructions":[0-9]+/); n = substr($0, RSTART + 15, RLENGTH - 15) + 0
        if (n > most) { most = n; best = name }
        name = ""
    } END { print best }' "$programs/kernels.json")

failed=0
steps=
child=
current=
since=0
now=$began

clock() {
    printf -v now '%(%s)T' -1
}

# Rewrites the result and packs the logs, each in one move.
keep() {
    clock
    {
        printf '{\n  "card": %s,\n  "driver": %s,\n' "$card" "$driver"
        printf '  "memory_total": %s,\n  "commit": %s,\n  "command": %s,\n' "$memory" "$commit" "$command"
        printf '  "unix_seconds": %s,\n  "seconds": %s,\n' "$began" "$((now - began))"
        printf '  "steps": [%s\n  ],\n  "rates": ' "$steps"
        grep -o 'rates: .*' "$log/rates.txt" 2>/dev/null | sed 's/rates: //' | grep . || echo null
        local file key
        for file in "$log"/*.json; do
            [ -s "$file" ] || continue
            key=${file##*/}
            printf ',\n  "%s": ' "${key%.json}"
            cat "$file"
        done
        printf '}\n'
    } >"$out/result.json.new" && mv "$out/result.json.new" "$out/result.json"
    tar -C "$out" -czf "$out/logs.tar.gz.new" log && mv "$out/logs.tar.gz.new" "$out/logs.tar.gz"
}

# Notes how the step that started at `since` ended: name, status.
note() {
    clock
    local seconds=$((now - since))
    printf '%-14s %4s s  %s\n' "$1" "$seconds" "$2" >>"$out/steps.txt"
    steps="$steps${steps:+,}
    {\"name\": \"$1\", \"seconds\": $seconds, \"status\": \"$2\"}"
    keep
    # Last, so that whoever reads this finds the step in the result.
    printf '%-14s %4s s  %s\n' "$1" "$seconds" "$2" >&2
}

ended() {
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        # It kills what does not end by itself.
        wait "$child" 2>/dev/null
        note "$current" "ended by a signal"
    fi
    exit 1
}
trap ended TERM INT HUP

# Runs one step: name, limit in seconds, command. $? is its status, 125 where there was no time.
step() {
    local name=$1 limit=$2 status=0 left
    shift 2
    clock
    since=$now
    left=$((budget - (now - began)))
    # An emulated card is slower even at small sizes.
    [ "$small" = no ] || limit=$((2 * limit))
    [ "$limit" -le "$left" ] || limit=$left
    [ -z "$most" ] || [ "$limit" -le "$most" ] || limit=$most
    if [ "$left" -lt 5 ]; then
        note "$name" "no time"
        return 125
    fi
    current=$name
    # In the background, since a signal is only seen while the shell waits.
    timeout -k 3 "$limit" "$@" >"$log/$name.txt" 2>&1 &
    child=$!
    wait "$child" || status=$?
    child=
    case $status in
    0) note "$name" passed ;;
    124 | 137) note "$name" "cut off after $limit s" ;;
    *)
        note "$name" "failed ($status)"
        tail -n 15 "$log/$name.txt" >&2
        ;;
    esac
    return "$status"
}

# A test of the program on hardware. One that does not pass in time has not passed.
ran=
law() {
    local status=0
    ran="$ran $3 "
    step "$1" "$2" "$hardware" --exact "$3" --nocapture || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 125 ] || failed=1
}

# Measures: name, limit, arguments of `rollmill-bench run`. It stops at SIGTERM and keeps what it has.
measure() {
    local name=$1 limit=$2 status=0
    shift 2
    step "$name" "$limit" "$bench" run --device "cuda:$device" --fallback require --peers none --json "$log/$name.json" \
        "$@" || status=$?
    grep -E '^bench: ' "$log/$name.txt" 2>/dev/null
    # What is wrong is a failure; what is too slow for its limit, or too large for the memory, is not.
    case $status in
    0 | 124 | 125 | 137) ;;
    *) grep -qE 'error: BEN-008|B of device memory' "$log/$name.txt" || failed=1 ;;
    esac
}

environment='
nvidia-smi
nvidia-smi -q -d CLOCK,ECC,POWER,TEMPERATURE,PERFORMANCE | head -n 150
nvidia-smi -q | grep -iE "driver version|cuda version|addressing mode|mig mode|compute mode|persistence"
nproc; free -g; uname -a; ldd --version | head -n 1; ulimit -l
"$0" devices'

if [ "$small" = yes ]; then
    sizes=(10..11 12 12)
    rows=(10 11 12)
    runs=(2 1 1)
    proof_runs=(1 1 1)
    in_flight=(2 1)
else
    sizes=(16..20 22 24)
    rows=(17 20 22)
    runs=(11 7 3)
    proof_runs=(11 3 2)
    in_flight=(2,4,8 2)
fi

step environment 15 bash -c "$environment; true" "$bench"
law laws 60 a_card_obeys_every_law
# What traces a wrong value to its pass comes next.
for test in $tests; do
    case $test in
    *every_pass*) law "$test" 30 "$test" ;;
    esac
done
law rates 30 a_card_says_how_fast_it_is
law proofs 30 a_card_gives_the_cpus_proofs_byte_for_byte
law at_once 60 a_card_makes_several_proofs_at_once_byte_for_byte
# Whatever other tests there are, so that none can be left out.
for test in $tests; do
    case $ran in
    *" $test "*) continue ;;
    esac
    case $test in
    *every_law*) law "$test" 60 "$test" ;;
    *) law "$test" 40 "$test" ;;
    esac
done
measure "proof_${rows[0]}" 40 --only proof --sizes "${rows[0]}" --proof-runs "${proof_runs[0]}" \
    --in-flight "${in_flight[0]}"
# Events around each kernel cost time, so that this run is not the one that counts.
ROLLMILL_CUDA_TRACE=$log/trace.md measure trace 30 --only proof --sizes "${rows[0]}" \
    --proof-runs "${proof_runs[1]}" --in-flight 0
measure msm_ntt 60 --only msm,ntt --sizes "${sizes[0]}" --distributions uniform,plonk --runs "${runs[0]}"
measure large 70 --only msm,ntt --sizes "${sizes[1]}" --distributions uniform,equal --runs "${runs[1]}"
measure "proof_${rows[1]}" 60 --only proof --sizes "${rows[1]}" --proof-runs "${proof_runs[1]}" \
    --in-flight "${in_flight[1]}"

# Counters of the kernels that matter. Clocks stay as they are: a rented machine may not let them be locked.
if [ -n "$ncu" ]; then
    counters() { # name, kernel, launches to skip, arguments of the bench
        local name=$1 kernel=$2 skip=$3
        shift 3
        step "ncu_$name" 25 "$ncu" --clock-control none --set full --kernel-name "$kernel" --launch-skip "$skip" \
            --launch-count 1 --kill on --csv --page details \
            "$bench" run --device "cuda:$device" --fallback require --peers none --runs 1 --proof-runs 1 --in-flight 0 "$@"
    }
    counters accumulate msm_accumulate 0 --only msm --distributions uniform --sizes 20
    counters scatter msm_scatter 0 --only msm --distributions uniform --sizes 20
    counters reduce msm_reduce 0 --only msm --distributions uniform --sizes 20
    # Two runs and a check of one column, on the subgroup and on a coset, are 18 passes; of eight columns at once the
    # second run's second pass is counted.
    counters ntt ntt_pass 22 --only ntt --sizes 20
    counters quotient "${quotient:-rows_run}" 0 --only proof --sizes 17
else
    since=$now
    note ncu "not installed"
fi

# Another library on the same card. What it makes wrong is no failure of ours.
if [ "$small" = no ] && [ -x "$programs/sppark" ]; then
    step sppark 60 "$programs/sppark" "$log/sppark.json" 16 18 20 22
    grep -E '^sppark: ' "$log/sppark.txt" 2>/dev/null
fi
measure huge 70 --only msm,ntt --sizes "${sizes[2]}" --distributions uniform --runs "${runs[2]}"

# What the emulator cannot do. It makes kernels many times slower, so it gets a short test of every kernel.
if [ -n "$sanitizer" ]; then
    for check in memcheck racecheck initcheck; do
        status=0
        step "$check" 45 "$sanitizer" --tool "$check" --error-exitcode 9 "$hardware" --exact \
            a_card_runs_every_kernel_on_little --nocapture || status=$?
        [ "$status" -ne 9 ] || failed=1
    done
else
    since=$now
    note sanitizer "not installed"
fi

measure "proof_${rows[2]}" 90 --only proof --sizes "${rows[2]}" --proof-runs "${proof_runs[2]}" --in-flight 0
# The same card as a graphics adapter. A machine for computing need not offer it.
if [ "$small" = no ] && [ -x "$programs/adapter" ]; then
    if [ ! -e /etc/vulkan/icd.d/nvidia_icd.json ] && [ ! -e /usr/share/vulkan/icd.d/nvidia_icd.json ]; then
        echo '{"file_format_version": "1.0.1", "ICD": {"library_path": "libGLX_nvidia.so.0", "api_version": "1.3.0"}}' \
            >"$work/nvidia_icd.json"
        export VK_DRIVER_FILES=$work/nvidia_icd.json
    fi
    step adapter 60 env ROLLMILL_ADAPTER=nvidia \
        LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$programs/vulkan" "$programs/adapter" --test-threads 1 ||
        ! grep -qE 'breaks [0-9]+ of the laws|assertion' "$log/adapter.txt" 2>/dev/null || failed=1
fi
step environment_after 10 bash -c "$environment; true" "$bench"
say "results are in $out"
exit "$failed"
