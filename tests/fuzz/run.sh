#!/usr/bin/env bash
# Runs the fuzz targets of the preset `fuzz`, one on each CPU. Keeps new inputs in build/fuzz/corpus; only reads the
# committed ones. Usage: run.sh SECONDS [NAME]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

# one SECONDS NAME: fuzzes one target.
one() {
    local seconds=$1 name=$2 corpus=build/fuzz/corpus/$2 seeds=tests/fuzz/corpus/$2 log=build/fuzz/$2.log
    mkdir -p -- "$corpus"
    local folders=("$corpus")
    [ ! -d "$seeds" ] || folders+=("$seeds")
    if ! "build/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 \
        -verbosity=0 -artifact_prefix="build/fuzz/$name-" "${folders[@]}" >"$log" 2>&1; then
        tail -n 100 -- "$log"
        echo "fuzz $name: failed; the input is in build/fuzz/$name-*"
        return 1
    fi
    echo "fuzz $name: $seconds s, $(find "$corpus" -type f | wc -l) inputs"
}
export -f one

seconds=$1
names=()
for target in build/fuzz/fuzz_*; do
    name=${target##*/fuzz_}
    if [ -f "$target" ] && [ -x "$target" ] && { [ -z "${2-}" ] || [ "$2" = "$name" ]; }; then
        names+=("$name")
    fi
done
[ ${#names[@]} -gt 0 ] || {
    echo "fuzz: no target${2:+ $2}" >&2
    exit 1
}
printf '%s\0' "${names[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'one "$1" "$2" || exit 255' _ "$seconds"
