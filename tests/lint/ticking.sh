#!/usr/bin/env bash
# Checks the list of files in src/core/ticking_private.h: each file is in it; only one file touches a member of
# `struct ticking`; no file calls a function of a file below it in the list, so there is no circle.
# Usage: ticking.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../src/core"

# Prints "FILE MEMBER" per line, "-" for no member.
list() {
    sed -n 's/^ \*   \(ticking[a-z_]*\.c\)  *\([a-z_]*\)  .*/\1 \2/p' ticking_private.h | sed 's/ $/ -/'
}

bad=0
if ! diff <(list | cut -d ' ' -f 1 | sort) <(printf "%s\n" ticking*.c | sort); then
    echo "ticking: the list in src/core/ticking_private.h is not the list of files" >&2
    bad=1
fi

while read -r file member; do
    others=()
    for other in ticking*.c; do
        [[ $other == "$file" ]] || others+=("$other")
    done
    if [[ $member != - ]] && grep -nE "\bt->$member\b" -- "${others[@]}"; then
        echo "ticking: only $file touches \`$member\`" >&2
        bad=1
    fi
done < <(list)

# The functions of the files that follow in the list.
below=$(list | wc -l)
while read -r file _; do
    below=$((below - 1))
    mapfile -t later < <(list | tail -n "$below" | cut -d ' ' -f 1)
    [[ ${#later[@]} -gt 0 ]] || break
    names=$(grep -hE '^[a-z].*\bticking_[a-z_]+\(' -- "${later[@]}" | grep -v '^static' |
        grep -oE '\bticking_[a-z_]+\(' | sed 's/($//' | sort -u | paste -sd '|')
    if grep -nHE "\b($names)\(" -- "$file"; then
        echo "ticking: $file calls a file below it in the list" >&2
        bad=1
    fi
done < <(list)
exit $bad
