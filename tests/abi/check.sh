#!/usr/bin/env bash
# Compares the ABI of build/release/libetcdworker.so with tests/abi/libetcdworker.abi: exported functions, their types,
# and the structs and enums of the public headers. Fails if they differ: then either undo the change, or update the dump
# in the same change, which shows it to the reviewer, and list it in the CHANGELOG. Releases of abidiff differ, so only
# one is used, that of Debian 12, on the machine that the dump is for; otherwise the check is skipped with a note.
# Usage: check.sh [--update]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

release=2.2 machine=x86_64
library=build/release/libetcdworker.so
kept=tests/abi/libetcdworker.abi
new=build/check/libetcdworker.abi

die() {
    echo "abi: $*" >&2
    exit 1
}

found=$(abidiff --version 2>/dev/null || echo none)
if ! [[ $found =~ \ $release(\.|$) ]] || [ "$(uname -m)" != $machine ]; then
    echo "abi: skipped: it needs abidiff $release on $machine, found $found on $(uname -m)"
    exit 0
fi
[ -e "$library" ] || die "there is no $library: run ./dev build"

mkdir -p build/check
abidw --suppressions tests/abi/public.abignore --no-corpus-path --no-comp-dir-path --no-show-locs --no-parameter-names \
    --no-elf-needed --exported-interfaces-only --type-id-style hash --out-file "$new" "$library"
grep -q "<function-decl name='ew_version'" "$new" || die "the dump of $library has no functions: was it built without -g?"
if [ "${1-}" = --update ]; then
    cp -- "$new" "$kept"
    echo "abi: updated $kept"
    exit 0
fi

# The bits of the status: 1 and 2 are failures, 4 is a change, 8 one that surely breaks programs. Not every change that
# breaks them has the 8, for example a member in the middle of a struct: the report says what changed.
status=0
abidiff "$kept" "$new" || status=$?
case $status in
0) echo "abi: as in $kept" ;;
4 | 8 | 12) die "the ABI changed: undo this, or run tests/abi/check.sh --update and list it in CHANGELOG.md" ;;
*) die "abidiff failed with status $status" ;;
esac
