#!/usr/bin/env bash
# Rehearses the first minutes on a card without one: unpacks the bundle of benches/gpu-bundle.sh into an empty folder, and
# runs its script in small mode on the emulated driver with an empty environment; then again with a step that hangs, a
# step that fails, and a kill in the middle. Each time the output folder must hold what was measured before. Takes about
# ten minutes, besides the builds.
#
# usage: benches/gpu-rehearsal.sh [BUNDLE]       BUNDLE: made unless given
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "gpu-rehearsal: $1" >&2
    exit 1
}

file=${1:-}
if [ -z "$file" ]; then
    file=$folder/bundle.tar.gz
    benches/gpu-bundle.sh "$file"
fi
driver=$(cargo run --locked --quiet -p rollmill-kernels --example emulated_driver -- "$folder/driver")

# An unpacked bundle, with one program replaced by what is on standard input if `program` is given.
unpack() { # name, program
    mkdir "$folder/$1"
    tar -C "$folder/$1" -xzf "$file"
    [ -n "${2:-}" ] || return 0
    mv "$folder/$1/rollmill-gpu/$2" "$folder/$1/rollmill-gpu/$2.whole"
    cat >"$folder/$1/rollmill-gpu/$2"
    chmod +x "$folder/$1/rollmill-gpu/$2"
}

# The script of a bundle, where nothing else is.
rehearse() { # name, arguments
    local name=$1
    shift
    cd "$folder/$name"
    exec env -i PATH=/usr/bin:/bin LD_LIBRARY_PATH="$driver" OUT="$folder/$name/out" \
        rollmill-gpu/gpu.sh --small "$@" 2>"$folder/$name/printed"
}

# The result is whole JSON with these figures in it.
holds() { # name, keys
    local name=$1
    shift
    python3 - "$folder/$name/out/result.json" "$@" <<'END' || fail "$name: the result lacks something"
import json, sys
result = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    assert result[key]["entries"], key
END
    tar -tzf "$folder/$name/out/logs.tar.gz" >/dev/null || fail "$name: the logs are not packed"
}

steps() { # name, pattern, what it means
    grep -Eq "$2" "$folder/$1/out/steps.txt" || { cat "$folder/$1/printed" >&2; fail "$1: $3"; }
}

unpack whole
(rehearse whole) || fail "the script failed: $(tail -n 20 "$folder/whole/printed")"
holds whole proof_10 trace msm_ntt large proof_11 huge proof_12
! grep -Ev ' (passed|not installed)$' "$folder/whole/out/steps.txt" || fail "a step did not pass"
grep -q '^| msm_' "$folder/whole/out/log/trace.md" || fail "the trace has no kernels"
echo "whole: $(wc -l <"$folder/whole/out/steps.txt") steps"

unpack hang hardware <<'END'
#!/bin/bash
[ "$2" != a_card_says_how_fast_it_is ] || { trap '' TERM; exec tail -f /dev/null; }
exec "$0.whole" "$@"
END
status=0
(rehearse hang --budget 240) || status=$?
[ "$status" -eq 1 ] || fail "hang: status $status"
steps hang '^rates .* cut off after 60 s' "the step was not cut off"
steps hang '^proof_10 .* passed' "the steps after it were not run"
holds hang proof_10
echo "a step that hangs: passed"

unpack fail hardware <<'END'
#!/bin/bash
[ "$2" != a_card_gives_the_cpus_proofs_byte_for_byte ] || exit 101
exec "$0.whole" "$@"
END
status=0
(rehearse fail --budget 240) || status=$?
[ "$status" -eq 1 ] || fail "fail: status $status"
steps fail '^proofs .* failed \(101\)' "the step did not fail"
holds fail proof_10
echo "a step that fails: passed"

unpack kill rollmill-bench <<'END'
#!/bin/bash
case "$*" in *msm,ntt*) exec tail -f /dev/null ;; esac
exec "$0.whole" "$@"
END
(rehearse kill --step-limit 60) &
script=$!
# The step after the trace is the one that does not end.
while ! grep -q '^trace ' "$folder/kill/out/steps.txt" 2>/dev/null; do
    kill -0 "$script" 2>/dev/null || fail "kill: the script ended before"
    sleep 1
done
kill -KILL "$script"
wait "$script" 2>/dev/null || true
holds kill proof_10
echo "a kill in the middle: passed"
