#!/usr/bin/env bash
# Runs the unit tests and the simulator of the preset `coverage` and prints how much of src/core they execute. Does not
# count branches inside uthash's macros and the branch of CHECK that ends the process. Usage: coverage.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# Otherwise gcov adds to the counts of an earlier run.
find build/coverage -name '*.gcda' -delete
ctest --preset coverage --parallel "$(nproc)"
gcovr --root . --filter src/core/ --exclude-throw-branches \
    --exclude-branches-by-pattern '.*\b(CHECK|HASH_[A-Z_]+)\(.*' --fail-under-line 100 --fail-under-branch 95 \
    --print-summary build/coverage
