#!/usr/bin/env bash
# Runs everything that must pass before a change is merged, in addition to a user's test command. Ends at the first
# stage that fails. Usage: check.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

jobs=$(nproc)
mkdir -p build/check

# stage NAME COMMAND...: runs it and prints how long it took.
stage() {
    local name=$1 began=$SECONDS
    shift
    echo "== $name"
    "$@" || {
        echo "== $name failed after $((SECONDS - began)) s"
        echo "0 passed, 1 failed"
        exit 1
    }
    echo "== $name: $((SECONDS - began)) s"
}

# build PRESET [TARGET]: builds, and prints nothing unless it fails.
build() {
    local log=build/check/build-$1.log
    { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$jobs" ${2:+--target "$2"}; } >"$log" 2>&1 || {
        sed -n '/FAILED:\|CMake Error\|error:/,$p' -- "$log"
        return 1
    }
}

# gcc's warnings depend on its optimiser, so the library is also compiled with the flags of a release.
build_released() {
    local dir=build/werror
    { cmake -S . -B "$dir" -G Ninja -DCMAKE_C_COMPILER=gcc -DEW_WERROR=ON -DEW_TESTS=OFF &&
        cmake --build "$dir" --parallel "$jobs"; } >build/check/werror.log 2>&1 || {
        sed -n '/FAILED:\|CMake Error\|error:/,$p' -- build/check/werror.log
        return 1
    }
}

# tests PRESET: runs the tests of the preset.
tests() {
    ctest --preset "$1" --parallel "$((3 * jobs))"
}

# The faults wait more than they compute, so what only computes runs beside them.
faults() {
    local status=0 log=build/check/beside.log beside
    nice bash -c 'tests/valgrind.sh && sh tests/model/check.sh "$PWD/build"' >"$log" 2>&1 &
    beside=$!
    tests faults || status=1
    wait "$beside" || status=1
    cat -- "$log"
    return $status
}

# One build with clang is linted, tested and fuzzed. The integration tests are built once more, for ThreadSanitizer.
stage "build with clang, AddressSanitizer, UBSan and libFuzzer, warnings are errors" build fuzz
stage "lint" tests/lint/lint.sh
stage "build with gcc as released, warnings are errors" build_released
stage "tests with AddressSanitizer and UBSan" tests asan-fuzz
stage "fuzzing" tests/fuzz/run.sh 5
stage "build with ThreadSanitizer and gcc, warnings are errors" build tsan integration_tests
stage "tests with ThreadSanitizer" tests tsan
stage "build the release" build release
stage "ABI" tests/abi/check.sh
stage "faults, and known mistakes that must be found; valgrind; the model" faults
echo "all stages: $SECONDS s"
