#!/bin/sh
# Runs the fuzz targets, each for so many seconds; the first crash or hang ends it with its input.
#
#   contrib/fuzz/run.sh [SECONDS [TARGET…]]       default: 600 s for every target
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:$HOME/.cargo/bin

seconds=${1:-600}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
    for file in contrib/fuzz/fuzz_targets/*.rs; do
        name=${file##*/}
        set -- "$@" "${name%.rs}"
    done
fi
if ! command -v cargo-fuzz >/dev/null; then
    echo "contrib/fuzz/run.sh: no cargo-fuzz here: cargo install cargo-fuzz" >&2
    exit 69
fi

# libFuzzer needs flags of rustc that are still unstable; this lets the stable compiler take them.
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    echo "== $target, $seconds s"
    corpus=contrib/fuzz/corpus/$target
    seeds=contrib/fuzz/seeds/$target
    mkdir -p "$corpus"
    [ -d "$seeds" ] || seeds=
    # An input that takes longer than five seconds is a fault like a crash: lines are an attacker's.
    # shellcheck disable=SC2086 # no seeds is no argument
    cargo fuzz run --fuzz-dir contrib/fuzz "$target" "$corpus" $seeds -- \
        -max_total_time="$seconds" -timeout=5 -print_final_stats=1
done
