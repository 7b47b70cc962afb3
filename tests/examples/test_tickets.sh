#!/usr/bin/env bash
# The README's example: its commands work and print the output in the README, and the simulation finds the mistake that
# the README names. The plugin behaves on a real etcd as in the simulation.
set -euo pipefail
: "${EW_BUILD_DIR:?}" "${EW_SOURCE_DIR:?}"
examples=$EW_SOURCE_DIR/examples
cc=${EW_CC:-cc}
read -r -a flags <<<"${EW_CFLAGS:-}"
flags+=(-std=c11 -Wall -Wextra -Werror -I"$EW_SOURCE_DIR/include")
libs=("-L$EW_BUILD_DIR" -letcdworker-sim "-Wl,-rpath,$EW_BUILD_DIR")
dir=$(mktemp -d)
daemon=
finish() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    rm -rf -- "$dir"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Polls until the command succeeds.
await() {
    for ((i = 0; i < 600; i++)); do
        if "$@"; then
            return
        fi
        kill -0 "$daemon" 2>/dev/null || fail "the daemon ended: $(cat -- "$dir/log")"
        sleep 0.1
    done
    fail "timed out waiting for $*: $(cat -- "$dir/log")"
}

lines=$(cat -- "$examples"/{plugin,simulate}_tickets.c | wc -l)
[ "$lines" -le 100 ] || fail "the README says that reactor and simulation have 100 lines; they have $lines"

# Every line of the reactor in the README is in the source.
sed -n '/^```c$/,/^```$/p' "$EW_SOURCE_DIR/README.md" | grep -vE '^(```.*)?$' >"$dir/shown"
[ -s "$dir/shown" ] || fail "the README shows no code"
while IFS= read -r line; do
    grep -qxF -- "$line" "$examples"/{plugin,simulate}_tickets.c || fail "a line of the README is not in the source: $line"
done <"$dir/shown"

# simulate PLUGIN_SOURCE SEEDS: prints the output of the simulation of that reactor.
simulate() {
    "$cc" "${flags[@]}" -o "$dir/simulate" "$examples/simulate_tickets.c" "$1" "${libs[@]}"
    "$dir/simulate" "$2" 2>"$dir/err"
}
seeds=1000
[ -z "${EW_CFLAGS:-}" ] || seeds=100
right=$(simulate "$examples/plugin_tickets.c" "$seeds") || fail "the simulation failed: $right $(cat -- "$dir/err")"
if [ "$seeds" = 1000 ]; then
    grep -qxF -- "    $right" "$EW_SOURCE_DIR/README.md" || fail "missing in the README: $right"
fi

# Without the first condition two workers issue the same number.
sed '/ew_group_expect(g, LAST)/d' "$examples/plugin_tickets.c" >"$dir/wrong.c"
! cmp -s "$examples/plugin_tickets.c" "$dir/wrong.c" || fail "the condition is not in the source"
# A program that exits at a failure frees nothing.
wrong=$(ASAN_OPTIONS=detect_leaks=0 simulate "$dir/wrong.c" 1000) && fail "the simulation did not find the mistake: $wrong"
said='^ *seed [0-9]+: at [0-9]+ ms: there is no ticket [0-9]+$' # which seed depends on every draw of the simulator
[[ $wrong =~ $said ]] || fail "the simulation found something else: $wrong"
grep -qE "$said" "$EW_SOURCE_DIR/README.md" || fail "missing in the README: $wrong"

# The plugin on a real etcd.
"$cc" "${flags[@]}" -shared -fPIC -o "$dir/tickets.so" "$examples/plugin_tickets.c"
"$EW_BUILD_DIR/etcdworkerd" --dev --prefix=/tickets --reactor="$dir/tickets.so" 2>"$dir/log" &
daemon=$!
listens() { endpoint=$(grep -oE 'endpoint=[^ ]+ ' "$dir/log"); }
await listens
read -r endpoint <<<"${endpoint#endpoint=}"
for name in alice bob carol; do
    etcdctl --endpoints "$endpoint" put "/tickets/wanted/$name" '' >/dev/null || fail "put: $(cat -- "$dir/log")"
done
all_given() {
    given=$(etcdctl --endpoints "$endpoint" get --prefix /tickets/given/ | tr '\n' ' ')
    [[ $given == "/tickets/given/1 "*" /tickets/given/2 "*" /tickets/given/3 "* ]]
}
await all_given
for name in alice bob carol; do
    [[ $given == *" $name "* ]] || fail "$name has no ticket: $given"
done
echo "tickets: simulated, and issued on a real etcd"
