#!/bin/sh
# Checks the model, and that the check fails without one part of the protocol, one check on each CPU. Usage:
# check.sh BUILD_DIR [CHECK...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1/model
mkdir -p "$work"
cd "$work"

# check NAME FLAGS...: prints the number of errors that Spin finds.
check() {
    name=$1
    shift
    mkdir -p "$name"
    cd "$name"
    spin "$@" -a "$here/commit.pml" >/dev/null
    gcc -O2 -DSAFETY -DVECTORSZ=2048 -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c
    ./pan -m1000000 -c2000 >pan.log 2>&1 || true # -c2000: up to 2,000 errors, not only the first
    if grep -q 'max search depth too small\|out of memory\|MEMLIM' pan.log; then
        echo "model: $name : the search was incomplete" >&2
        exit 1
    fi
    sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log
}

# holds NAME FLAGS...: fails unless Spin finds no error.
holds() {
    errors=$(check "$@")
    [ "$errors" = 0 ] || { cat "$1/pan.log" >&2; echo "model: the protocol fails" >&2; exit 1; }
    states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' "$1/pan.log")
    echo "model: the protocol holds in all $states states ($1)"
}

# fails WORLD BROKEN ASSERTION: without that part of the protocol this assertion must fail. Another failure, such as a deadlock, proves nothing.
fails() {
    errors=$(check "$2" "-D$1" "-D$2")
    [ "$errors" -gt 0 ] || { echo "model: nothing fails with $2: the check does not cover it" >&2; exit 1; }
    grep -qF "$3 (at depth" "$2/pan.log" || {
        grep '^pan' "$2/pan.log" >&2
        echo "model: with $2 something fails, but not $3" >&2
        exit 1
    }
    echo "model: fails with $2, as expected"
}

if [ $# -gt 1 ]; then
    shift
    "$@"
    exit
fi
tr '\n' '\0' <<'END' | xargs -0 -P "$(nproc)" -I COMMAND sh -c "sh '$here/check.sh' '$1' COMMAND || exit 255"
holds two-groups
holds losses -DLOSSES
holds behind-a-fence -DBEHIND_A_FENCE
fails TWO_GROUPS NO_FENCE '!(given_up[group])'
fails TWO_GROUPS NO_GATE '(observed>=own_commit)'
fails TWO_GROUPS NO_BARRIER '(observed>=own_commit)'
fails TWO_GROUPS BLIND_RETRY '(applied[group]==1)'
fails TWO_GROUPS NO_RECEIPT_COMPARE '(applied[group]==1)'
fails BEHIND_A_FENCE SAME_SEQUENCE 'assertion violated 0'
fails LOSSES CLAIM_ALWAYS '(applied[group]==0)'
END
