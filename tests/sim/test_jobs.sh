#!/usr/bin/env bash
# Seeds in several processes: what comes out is the same however many there are, and a process that is killed, or all of
# them being stopped, is told.
set -euo pipefail

sim=$EW_BUILD_DIR/etcdworker-sim
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

fail() {
    echo "test_jobs: $*" >&2
    exit 1
}

# All but the pace, which also decides about lines of progress.
run() {
    "$sim" "$@" >"$work/out" || return $?
    sed '/ minutes left$/d; s/, [0-9]* seeds a minute//; s/, [0-9.]* s):/):/' "$work/out"
}

one=$(run --seed 5 --seeds 12 --jobs 1)
[[ $one == *"12 seeds from 5"*"digest "* ]] || fail "no result: $one"
for jobs in 2 5 20; do
    many=$(run --seed 5 --seeds 12 --jobs $jobs)
    [ "$one" = "$many" ] || fail "$jobs processes: $many, one: $one"
done

# The lowest seed that fails is the one that is told, whoever is ready first.
one=$(run --bug early_success --jobs 1) || fail "one process finds nothing: $one"
for jobs in 2 6; do
    many=$(run --bug early_success --jobs $jobs) || fail "$jobs processes find nothing: $many"
    [ "$one" = "$many" ] || fail "$jobs processes: $many, one: $one"
done

# Starts two processes that have more than enough to do, and waits until both are there.
begin() {
    "$sim" --seeds 100000000 --jobs 2 >"$work/out" &
    parent=$!
    local until=$((SECONDS + 60))
    while ((SECONDS < until)); do
        read -ra children <"/proc/$parent/task/$parent/children" || true
        [ ${#children[@]} -lt 2 ] || return 0
    done
    fail "there are no two processes"
}

begin
kill -KILL "${children[0]}"
status=0
wait "$parent" || status=$?
[ $status -eq 1 ] || fail "a process was killed, and the status is $status"
grep -q 'FAILED: its process was ended by signal 9' "$work/out" || fail "a process was killed: $(<"$work/out")"

begin
kill -TERM "$parent"
status=0
wait "$parent" || status=$?
[ $status -eq 1 ] || fail "it was stopped, and the status is $status"
grep -q '^stopped: ' "$work/out" || fail "it was stopped: $(<"$work/out")"
for child in "${children[@]}"; do
    ! kill -0 "$child" 2>/dev/null || fail "a process is left"
done
