#!/usr/bin/env bash
# Runs the unit tests, and one integration test that uses all actors, with valgrind. gRPC never joins its own threads,
# so their memory is "possibly lost"; memory that is definitely lost is a leak of the library. EW_VALGRIND tells a test
# that it cannot measure memory. Usage: valgrind.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

export EW_VALGRIND=1 EW_SOURCE_DIR=$PWD EW_BUILD_DIR=$PWD/build/release
mkdir -p build/check

# one PROGRAM: runs it with valgrind.
one() {
    local name=${1##*/} log
    log=build/check/valgrind-$name.log
    if ! timeout 300 valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$1" \
        >"$log" 2>&1; then
        cat -- "$log"
        echo "valgrind $name: failed"
        return 1
    fi
    echo "valgrind $name: passed"
}
export -f one

for test in build/release/unit_* build/release/integration_worker_session; do
    [ ! -x "$test" ] || printf '%s\0' "$test"
done | xargs -0 -n 1 -P "$(nproc)" bash -c 'one "$1" || exit 255' _
