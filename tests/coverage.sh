#!/usr/bin/env bash
# Runs the unit tests and the simulator from the preset `coverage` and prints how much of src/core they execute. Not
# counted: branches inside of uthash's macros, and the sides of CHECK that end the process. Usage: coverage.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# Counts of an earlier run would be added to.
find build/coverage -name '*.gcda' -delete
ctest --preset coverage --parallel "$(nproc)"
gcovr --root . --filter src/core/ --exclude-throw-branches \
    --exclude-branches-by-pattern '.*\b(CHECK|HASH_[A-Z_]+)\(.*' --fail-under-line 100 --fail-under-branch 95 \
    --print-summary build/coverage
