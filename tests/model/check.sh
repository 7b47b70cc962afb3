#!/bin/sh
# Checks the model, and that the check fails without one part of the protocol. Usage: check.sh BUILD_DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1/model
mkdir -p "$work"
cd "$work"

# check NAME FLAGS...: prints the number of errors that Spin finds.
check() {
    name=$1
    shift
    spin "$@" -a "$here/commit.pml" >/dev/null
    gcc -O2 -DVECTORSZ=2048 -DCOLLAPSE -DMEMLIM=3000 -o "pan-$name" pan.c
    "./pan-$name" -m1000000 -c2000 >"$name.log" 2>&1 || true # -c2000: up to 2,000 errors, not only the first
    if grep -q 'max search depth too small\|out of memory\|MEMLIM' "$name.log"; then
        echo "model: the search of $name was incomplete" >&2
        exit 1
    fi
    sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$name.log"
}

# holds NAME FLAGS...: fails unless Spin finds no error.
holds() {
    errors=$(check "$@")
    states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' "$1.log")
    [ "$errors" = 0 ] || { cat "$1.log" >&2; echo "model: the protocol fails" >&2; exit 1; }
    echo "model: the protocol holds in all $states states ($1)"
}

holds two-groups
holds behind-a-fence -DBEHIND_A_FENCE
holds losses -DLOSSES

# The part that is removed, and the assertion that must fail then. Another failure, such as a deadlock, proves nothing.
while read -r world broken assertion; do
    errors=$(check "$broken" "-D$world" "-D$broken")
    [ "$errors" -gt 0 ] || { echo "model: nothing fails with $broken: the check does not cover it" >&2; exit 1; }
    grep -qF "$assertion (at depth" "$broken.log" || {
        grep '^pan' "$broken.log" >&2
        echo "model: with $broken something fails, but not $assertion" >&2
        exit 1
    }
    echo "model: fails with $broken, as expected"
done <<'END'
TWO_GROUPS NO_FENCE !(given_up[group])
TWO_GROUPS NO_GATE (observed>=own_commit)
TWO_GROUPS NO_BARRIER (observed>=own_commit)
TWO_GROUPS BLIND_RETRY (applied[group]==1)
TWO_GROUPS NO_RECEIPT_COMPARE (applied[group]==1)
BEHIND_A_FENCE SAME_SEQUENCE assertion violated 0
LOSSES CLAIM_ALWAYS (applied[group]==0)
END
