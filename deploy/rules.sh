#!/bin/sh
# Checks the configuration of Prometheus and runs the tests of its rules. Part of `make test`.
#
# promtool is that of PATH, or the one that `make setup` unpacked into the cache.
set -eu
cd "$(dirname "$0")/prometheus"

promtool=$(command -v promtool || echo "${ROLLMILL_CACHE:-$HOME/.cache/rollmill}/prometheus/usr/bin/promtool")
if [ ! -x "$promtool" ]; then
    echo "rules: no promtool; run: make setup" >&2
    exit 1
fi

"$promtool" check config prometheus.yml
"$promtool" check rules ./*.rules.yml
"$promtool" test rules tests/*.test.yml
