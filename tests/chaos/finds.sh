#!/bin/sh
# A known mistake put back must end in a failed line of the table, for the reason it should. When a fault strikes is
# chance, so there are 60 rounds for it: of the hardest to find, about every third one does. Without a mistake it is the
# fault that must be found wanting, in the first round.
# Usage: finds.sh PROGRAM MISTAKE FAULT NODES COMPLAINT, which is a regular expression.
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
echo "finds: $2 under $3 was not found by: $5" >&2
exit 1
