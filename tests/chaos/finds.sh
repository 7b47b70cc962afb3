#!/bin/sh
# Checks that chaos finds a known mistake: a line of the table must fail for the expected reason. Whether a fault meets
# the mistake is chance, so there are 60 rounds. If MISTAKE is empty, the fault itself must be rejected, in the first
# round.
# Usage: finds.sh PROGRAM MISTAKE FAULT NODES COMPLAINT, where COMPLAINT is a regular expression.
set -u
round=0
rounds=60
[ -n "$2" ] || rounds=1
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    status=0
    output=$(CHAOS_BUG=$2 "$1" --nodes "$4" --fault "$3" 2>&1) || status=$?
    printf '%s\n' "$output"
    if [ "$status" -gt 1 ]; then
        echo "finds: $2 under $3 ended with status $status, not with a table" >&2
        exit 1
    fi
    if [ "$status" -eq 1 ] && printf '%s\n' "$output" | grep -Eq "$5"; then
        exit 0
    fi
done
echo "finds: no line for $2 under $3 matches: $5" >&2
exit 1
