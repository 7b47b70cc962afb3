#!/usr/bin/env bash
# Seeds in several processes: the output does not depend on the number of processes, and a process that is killed, or a
# stop of all of them, is reported.
set -euo pipefail

sim=$EW_BUILD_DIR/etcdworker-sim
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

fail() {
    echo "test_jobs: $*" >&2
    exit 1
}

# Prints the output without the speed, and without the progress lines, which depend on it.
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

# The lowest seed that fails is reported, whichever process finishes first.
one=$(run --bug early_success --jobs 1) || fail "one process found nothing: $one"
for jobs in 2 6; do
    many=$(run --bug early_success --jobs $jobs) || fail "$jobs processes found nothing: $many"
    [ "$one" = "$many" ] || fail "$jobs processes: $many, one: $one"
done

# Starts two processes with endless work, and waits until both run.
begin() {
    "$sim" --seeds 100000000 --jobs 2 >"$work/out" &
    parent=$!
    local until=$((SECONDS + 60))
    while ((SECONDS < until)); do
        read -ra children <"/proc/$parent/task/$parent/children" || true
        [ ${#children[@]} -lt 2 ] || return 0
    done
    fail "two processes did not start"
}

begin
kill -KILL "${children[0]}"
status=0
wait "$parent" || status=$?
[ $status -eq 1 ] || fail "after a process was killed the status is $status"
grep -q 'FAILED: its process was killed by signal 9' "$work/out" || fail "a process was killed: $(<"$work/out")"

begin
kill -TERM "$parent"
status=0
wait "$parent" || status=$?
[ $status -eq 1 ] || fail "after a stop the status is $status"
grep -q '^stopped: ' "$work/out" || fail "it was stopped: $(<"$work/out")"
for child in "${children[@]}"; do
    ! kill -0 "$child" 2>/dev/null || fail "a process still runs"
done
