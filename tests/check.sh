#!/usr/bin/env bash
# Everything that must hold before a change is merged, beside what a user's test command runs. Ends at the first stage
# that fails. Usage: check.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

jobs=$(nproc)
mkdir -p build/check

# stage NAME COMMAND...: runs it and says how long it took.
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

# build PRESET [TARGET]: quiet unless it fails.
build() {
    local log=build/check/build-$1.log
    { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$jobs" ${2:+--target "$2"}; } >"$log" 2>&1 || {
        sed -n '/FAILED:\|CMake Error\|error:/,$p' -- "$log"
        return 1
    }
}

# gcc's warnings depend on what its optimiser sees, so what is shipped is also compiled as it is shipped.
build_shipped() {
    local dir=build/werror
    { cmake -S . -B "$dir" -G Ninja -DCMAKE_C_COMPILER=gcc -DEW_WERROR=ON -DEW_TESTS=OFF &&
        cmake --build "$dir" --parallel "$jobs"; } >build/check/werror.log 2>&1 || {
        sed -n '/FAILED:\|CMake Error\|error:/,$p' -- build/check/werror.log
        return 1
    }
}

# tests PRESET
tests() {
    ctest --preset "$1" --parallel "$((3 * jobs))"
}

# One build of clang's is linted, tested and fuzzed. What has threads is built once more, for ThreadSanitizer.
stage "build with clang, AddressSanitizer, UBSan and libFuzzer, warnings are errors" build fuzz
stage "lint" tests/lint/lint.sh
stage "build with gcc as it is shipped, warnings are errors" build_shipped
stage "tests with AddressSanitizer and UBSan" tests asan-fuzz
stage "fuzzing" tests/fuzz/run.sh 5
stage "build with ThreadSanitizer and gcc, warnings are errors" build tsan integration_tests
stage "tests with ThreadSanitizer" tests tsan
stage "build the release" build release
stage "faults, and mistakes that must be found" tests faults
stage "tests with valgrind" tests/valgrind.sh
stage "the protocol's model" sh tests/model/check.sh "$PWD/build"
echo "all stages: $SECONDS s"
