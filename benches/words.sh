#!/usr/bin/env bash
# Measures this machine's CPU without AVX-512 IFMA beside all of its peers: benches/results/bench-words-*-NAME.json,
# with the path in `device`. About ten minutes on two cores, and the build of the bench; run it on a machine that does
# nothing else. Every figure is the median of at least 9 runs.
#
# Barretenberg must be there: `cd contracts && npm i --no-save @aztec/bb.js@5.0.0`, or its program in $BB.
#
# usage: benches/words.sh NAME [PATH]
#   NAME: the machine, such as zen3-2cores; PATH: adx (the default), avx2 or portable
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: benches/words.sh NAME [PATH]}
path=${2:-adx}
in_npm=contracts/node_modules/@aztec/bb.js/build
bb=${BB:-$(command -v bb || find "$in_npm" -type f -name bb -path "*-linux/*" 2>/dev/null || true)}
bb=$(head -n 1 <<< "$bb")
if [[ -z $bb ]]; then
    echo "Barretenberg is missing: cd contracts && npm i --no-save @aztec/bb.js@5.0.0, or name its program in BB" >&2
    exit 1
fi
bench=$(make --no-print-directory bench | tail -n 1)

# Records one file: its name, then the arguments of `rollmill-bench run`.
record() {
    local file=benches/results/bench-words-$1-$name.json
    shift
    "$bench" run --device cpu --cpu-path "$path" --runs 11 --proof-runs 9 --bb "$bb" "$@" --json "$file"
}

# MSMs and transforms, then whole proofs, which take longest.
record msm --only field,msm --sizes 16..18 --distributions uniform --peers arkworks,halo2curves,barretenberg
record ntt --only ntt --sizes 16..20 --peers arkworks
record proof --only proof --sizes 17 --peers barretenberg
