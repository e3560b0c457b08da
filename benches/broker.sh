#!/bin/bash
# Measures the broker's queue on this machine and records what came of it.
#
#   benches/broker.sh NAME          writes benches/results/broker-*-NAME.json
#
# Each run starts a PostgreSQL and brokers of its own in a temporary folder (TMPDIR). It needs what `make setup` installs,
# nothing else that works on the machine, and some minutes. The bucket is the example `bucket` over a folder.
set -euo pipefail
cd "$(dirname "$0")/.."
NAME=${1:?"usage: benches/broker.sh NAME, a name for the machine such as zen4-2cores"}
OUT=benches/results
TARGET=${CARGO_TARGET_DIR:-target}/release

cargo build --locked --release -p rollmill-broker --bin rollmill-broker --example bucket

run() {
    local file="$OUT/broker-$1-$NAME.json"
    shift
    echo "rollmill-broker bench $*" >&2
    "$TARGET/rollmill-broker" bench --json "$@" > "$file.part"
    mv "$file.part" "$file"
}

run queue --jobs 100000 --agents 1000
run dispatch --jobs 15000 --agents 1000 --rate 500
run kill --jobs 100000 --agents 1000 --replicas 2 --kill
run hostile --jobs 100000 --agents 1000 --hostile 1500 --heartbeats 1
run artifacts-postgres --jobs 20000 --agents 1000 --artifact-bytes 2000

BUCKETS=$(mktemp -d)
trap 'kill "$SERVER" 2> /dev/null || true; rm -rf "$BUCKETS"' EXIT
mkdir "$BUCKETS/artifacts"
export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret
"$TARGET/examples/bucket" 127.0.0.1:0 "$BUCKETS" > "$BUCKETS/url" &
SERVER=$!
for _ in $(seq 100); do
    [ -s "$BUCKETS/url" ] && break
    sleep 0.1
done
export ROLLMILL_BROKER_OBJECT_STORE=s3://artifacts ROLLMILL_BROKER_OBJECT_STORE_ENDPOINT=$(cat "$BUCKETS/url")
run artifacts-s3 --jobs 2000 --agents 100 --artifact-bytes 300000
