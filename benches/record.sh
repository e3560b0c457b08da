#!/usr/bin/env bash
# Records the benches of this machine's CPU again, in about half an hour: benches/results/bench-*-NAME.json.
# Run it on a machine that does nothing else; each file says what the load was. Peers that are not there
# are listed in the file: Barretenberg is looked for as docs/book/bench.md says, ICICLE in
# $ROLLMILL_ICICLE_DIR.
#
# usage: benches/record.sh NAME       NAME: the machine, such as zen5-2cores
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: benches/record.sh NAME}
bench=$(make --no-print-directory bench | tail -n 1)

# Records one file: its name, then the arguments of `rollmill-bench run`.
record() {
    local file=benches/results/bench-$1-$name.json
    shift
    "$bench" run --device cpu "$@" --json "$file"
}

record msm-ntt --only field,poseidon2,msm,ntt --sizes 16..20 --peers none
record msm-peers --only msm --sizes 16..20 --distributions uniform
record msm-u16-peers --only msm --sizes 12..16 --distributions u16 --runs 21 --peers scalar,arkworks
record ntt-peers --only field,ntt --sizes 16..20 --peers scalar,arkworks
record proof --only proof --sizes 17..18 --proof-runs 10
record proof-no-key-cache --only proof --sizes 18 --proof-runs 10 --peers none --key-cache-mib 0
