#!/usr/bin/env bash
# Checks imports, formatting, shell scripts, and runs static analysis. Releases of a linter differ, so only one release
# of each is used, that of Debian 12; another release is skipped with a note. The static analysis reads the compile
# commands of the preset `fuzz`, which uses clang. Usage: lint.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

build=build/fuzz

# has PROGRAM VERSION: whether the machine has this release; prints a note if not.
has() {
    if ! command -v "$1" >/dev/null || ! "$1" --version 2>&1 | grep -E "(version:?|Cppcheck) $2([. ]|\$)" >/dev/null; then
        echo "lint: $1 is skipped: it needs release $2, found $("$1" --version 2>&1 | grep -m 1 -E '[0-9]\.' || echo none)"
        return 1
    fi
}

# check NAME COMMAND...: runs it, prints how long it took, and exits if it fails.
check() {
    local name=$1 began=$SECONDS
    shift
    "$@" || {
        echo "lint: $name failed"
        exit 1
    }
    echo "lint: $name: $((SECONDS - began)) s"
}

files() {
    git ls-files -z -- "$@"
}

formatting() {
    files '*.c' '*.h' | xargs -0 clang-format --dry-run -Werror --style=file
}

shell_scripts() {
    files '*.sh' dev .ci/run | xargs -0 shellcheck --severity=warning
}

# Skips the tests: cppcheck does not know that cmocka's assertions end a test.
cppcheck_all() {
    mkdir -p build/cppcheck
    cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppressions-list=tests/lint/cppcheck.supp --library=tests/lint/cppcheck.cfg --cppcheck-build-dir=build/cppcheck \
        --template='{file}:{line}: {severity}: {message} [{id}]' -i "$build/generated/" -i tests/ \
        --project="$build/compile_commands.json"
}

# clang-tidy prints on stderr how many warnings it suppressed.
tidy() {
    files 'src/*.c' 'bench/*.c' |
        xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p "$build" >build/tidy.log 2>build/tidy.err || {
        cat -- build/tidy.log build/tidy.err
        return 1
    }
}

check imports tests/lint/imports.sh
check ticking tests/lint/ticking.sh
if has clang-format 14; then check formatting formatting; fi
if has shellcheck 0; then check "shell scripts" shell_scripts; fi
if has cppcheck 2.10; then check cppcheck cppcheck_all; fi
if has clang-tidy 14; then check clang-tidy tidy; fi
