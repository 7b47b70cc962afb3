#!/usr/bin/env bash
# Imports, formatting, shell scripts and static analysis. Each release of a linter has other opinions, so one release of
# each is the judge (those of Debian 12), and another one is left out with a note. The static analysis reads the
# compile commands of the preset `fuzz`, clang's. Usage: lint.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

build=build/fuzz

# judge PROGRAM VERSION: whether the machine has this release of it.
judge() {
    if ! command -v "$1" >/dev/null || ! "$1" --version 2>&1 | grep -E "(version:?|Cppcheck) $2([. ]|\$)" >/dev/null; then
        echo "lint: $1 is left out: its judge is release $2, and here is $("$1" --version 2>&1 | grep -m 1 -E '[0-9]\.' || echo none)"
        return 1
    fi
}

# check NAME COMMAND...
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

# The tests are left out: cppcheck does not know that cmocka's assertions end a test.
cppcheck_all() {
    mkdir -p build/cppcheck
    cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppressions-list=tests/lint/cppcheck.supp --library=tests/lint/cppcheck.cfg --cppcheck-build-dir=build/cppcheck \
        --template='{file}:{line}: {severity}: {message} [{id}]' -i "$build/generated/" -i tests/ \
        --project="$build/compile_commands.json"
}

# clang-tidy also counts, on stderr, the warnings that it does not show.
tidy() {
    files 'src/*.c' 'bench/*.c' |
        xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p "$build" >build/tidy.log 2>build/tidy.err || {
        cat -- build/tidy.log build/tidy.err
        return 1
    }
}

check imports tests/lint/imports.sh
if judge clang-format 14; then check formatting formatting; fi
if judge shellcheck 0; then check "shell scripts" shell_scripts; fi
if judge cppcheck 2.10; then check cppcheck cppcheck_all; fi
if judge clang-tidy 14; then check clang-tidy tidy; fi
