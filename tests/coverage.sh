#!/usr/bin/env bash
# Runs the unit tests and the simulator of the preset `coverage` and prints how much of src/core and src/shell they
# execute. Does not count branches inside uthash's macros and the branch of CHECK that ends the process. Usage:
# coverage.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# Otherwise gcov adds to the counts of an earlier run.
find build/coverage -name '*.gcda' -delete
ctest --preset coverage --parallel "$(nproc)"

# covered MODULE LINES BRANCHES: fails below these percentages.
covered() {
    gcovr --root . --filter "src/$1/" --exclude-throw-branches \
        --exclude-branches-by-pattern '.*\b(CHECK|HASH_[A-Z_]+)\(.*' --fail-under-line "$2" --fail-under-branch "$3" \
        --print-summary build/coverage
}

covered core 100 95
covered shell 95 85
