#!/usr/bin/env bash
# Makes one file for benches/gpu.sh to run from on a machine that has a card but neither cargo nor a network: the bench
# with the compiled kernels in it, the tests of cards and of graphics adapters as programs, the script. The folder that it
# unpacks to is ignored by git. Prints its size, the oldest glibc that runs it, and how long it took.
#
# usage: benches/gpu-bundle.sh [--cuda12] [--sppark] [FILE]       FILE: rollmill-gpu.tar.gz
#
#   --cuda12   also an image of the kernels for drivers from 535 to 575; see benches/cuda12-image.py
#   --sppark   also sppark's MSM, to compare on the same card; see benches/sppark.sh
#
# Both fetch their compilers and sources, so they need a network and some minutes. $PROFILE is the cargo profile, `release`
# unless set. The file must not have more than 64 MiB.
set -euo pipefail
cd "$(dirname "$0")/.."

cuda12=no
sppark=no
while [ $# -gt 0 ]; do
    case $1 in
    --cuda12) cuda12=yes ;;
    --sppark) sppark=yes ;;
    -*)
        sed -n 's/^# usage: /usage: /p' "$0" >&2
        exit 2
        ;;
    *) break ;;
    esac
    shift
done
file=$(realpath -m "${1:-rollmill-gpu.tar.gz}")
profile=${PROFILE:-release}
began=$(date +%s)
most=$((64 * 1024 * 1024))

fail() {
    echo "gpu-bundle: $1" >&2
    exit 1
}

# The path of a program in cargo's report: the last "executable" that is not null.
built() {
    cargo "$@" --locked --profile "$profile" --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

bench=$(built build -p rollmill-bench --bin rollmill-bench)
hardware=$(built test --no-run -p rollmill-kernels --test hardware)
adapter=$(built test --no-run -p rollmill-shaders --test conformance)
for program in "$bench" "$hardware" "$adapter"; do
    [ -x "$program" ] || fail "cargo named no program; it said why above"
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/rollmill-gpu"
strip -o "$folder/rollmill-gpu/rollmill-bench" "$bench"
strip -o "$folder/rollmill-gpu/hardware" "$hardware"
strip -o "$folder/rollmill-gpu/adapter" "$adapter"
# The loader that the driver of a card's Vulkan is found with; containers often have only the driver.
vulkan=$(ldconfig -p | sed -n 's/.*libvulkan\.so\.1 .*x86-64.*=> //p' | sed -n 1p)
if [ -n "$vulkan" ]; then
    mkdir "$folder/rollmill-gpu/vulkan"
    cp -L "$vulkan" "$folder/rollmill-gpu/vulkan/libvulkan.so.1"
else
    echo "gpu-bundle: without a Vulkan loader (package libvulkan1)" >&2
fi
if [ "$cuda12" = yes ]; then
    benches/cuda12-image.py "$folder/rollmill-gpu/kernels-cuda12.fatbin" || fail "no image for older drivers"
fi
if [ "$sppark" = yes ]; then
    benches/sppark.sh "$folder/rollmill-gpu/sppark" || fail "no program of sppark"
fi
cp benches/gpu.sh kernels/kernels.json "$folder/rollmill-gpu/"
{
    git rev-parse HEAD
    # Figures of a changed tree are not those of the commit.
    [ -z "$(git status --porcelain --untracked-files=no)" ] || echo "with changes"
} >"$folder/rollmill-gpu/commit"
# The newest version of glibc that a symbol of any program asks for.
glibc=$(for program in "$folder"/rollmill-gpu/{rollmill-bench,hardware,adapter,sppark}; do
    [ ! -e "$program" ] || objdump -T "$program"
done |
    sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1)
echo "$glibc" >"$folder/rollmill-gpu/glibc"
tar -C "$folder" --sort=name --owner=0 --group=0 -c rollmill-gpu | gzip -9 >"$file"

size=$(stat -c %s "$file")
[ "$size" -le "$most" ] || fail "$file has $size B, at most $most are allowed"
echo "$file: $size B, needs glibc $glibc, made in $(($(date +%s) - began)) s"
echo "there: tar xzf $(basename "$file") && rollmill-gpu/gpu.sh"
