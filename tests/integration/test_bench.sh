#!/usr/bin/env bash
# The benchmark: every workload runs and counts correctly (each role checks its own sums, and fails if they are wrong).
# Also the contents of a report, and the errors for a wrong command line.
set -euo pipefail
# In a pipe grep must read to the end (no -q): with pipefail, SIGPIPE in the writer would be a failure.

bench=$EW_BUILD_DIR/etcdworker-bench
work=$(mktemp -d)
etcd_pid=
loops=()
trap '[ -z "$etcd_pid" ] || kill "$etcd_pid"; [ ${#loops[@]} -eq 0 ] || kill "${loops[@]}"; rm -rf -- "$work"' EXIT

fail() {
    echo "test_bench: $*" >&2
    exit 1
}

"$bench" --smoke --runs 2 --json "$work/one.json" --html "$work/one.html" >"$work/table" || fail "the smoke run failed"
for row in floor chain groups bigstate_1k bigstate_10k bigstate_100k bigstate_1M ingest_1 ingest_100 contend_3 contend_10 \
    fanin_1 fanin_8 fanin_64 actors catchup; do
    grep -q "^$row " "$work/table" || fail "no row $row"
    grep -q "\"$row\": {" "$work/one.json" || fail "$row is not in the JSON"
done
for pair in 'bigstate_1M / bigstate_1k' 'fanin_64 / fanin_1'; do
    grep -E "^$pair( +[0-9]+\.[0-9]{2}){4}$" "$work/table" >/dev/null || fail "the table has no valid line for $pair"
    grep -q "\"$pair\": {" "$work/one.json" || fail "$pair is not in the JSON"
done
# row_of NAME: prints the row's lines of the JSON.
row_of() {
    sed -n "/^  \"$1\": {/,/^  }/p" "$work/one.json"
}
for row in chain actors; do
    for field in ticks_per_s floor_per_s ratio cpu_us_per_tick max_rss_kb switches_per_tick latency_p99_us \
        floor_cpu_us cpu_ratio floor_switches step_{tick,evaluate,hop_out,commit,watch,hop_in,update}_us; do
        row_of "$row" | grep "\"$field\": [0-9]" >/dev/null || fail "$row has no $field"
    done
done
for field in load_s paging_s load_ratio rss_ratio; do
    row_of bigstate_1M | grep "\"$field\": [0-9]" >/dev/null ||
        fail "bigstate_1M has no $field"
done
row_of groups | grep '"txns_per_tick": 1.0,*$' >/dev/null || fail "64 groups on 64 keys are not one transaction"
row_of contend_3 | grep '"txns_per_commit": [1-9]' >/dev/null || fail "a commit of contend without a transaction"
row_of contend_3 | grep '"latency_p99_us": [1-9]' >/dev/null || fail "contend reports no latencies"
for row in chain contend_3 fanin_64 actors; do
    row_of "$row" | grep -E '"cpu_us_per_(tick|commit)": [1-9]' >/dev/null || fail "$row reports no CPU time"
    row_of "$row" | grep '"max_rss_kb": [1-9]' >/dev/null || fail "$row reports no memory"
done
# load_ratio is load_s / paging_s, and rss_ratio is max_rss_kb * 1024 / bytes, both exact in each run.
row_of bigstate_1M | awk -F '[:,] *' '
    /"runs": \[/ { inside = 1 }
    inside && /"(load_s|paging_s|load_ratio|rss_ratio|max_rss_kb|bytes)"/ { gsub(/[" ]/, "", $1); v[$1] = $2 }
    inside && /\}/ {
        off = v["load_s"] / v["paging_s"] / v["load_ratio"]; off2 = v["max_rss_kb"] * 1024 / v["bytes"] / v["rss_ratio"]
        if (off < 0.99 || off > 1.01 || off2 < 0.99 || off2 > 1.01) exit 1
        runs++
        if (runs == 2) exit
    }
    END { if (runs != 2) exit 1 }' || fail "a quotient of bigstate_1M is wrong"
grep -q '"data": "memory"\|"data": "disk"' "$work/one.json" || fail "the JSON does not name the place of etcd's data"
for step in evaluate hop_out commit hop_in; do
    ! grep -q "\"step_${step}_us\": 0.0," "$work/one.json" || fail "the step $step took no time"
done
! row_of ingest_100 | grep step_commit_us >/dev/null || fail "a commit step in a workload that writes nothing"
grep -q "a tick's time" "$work/one.html" || ! command -v gnuplot >/dev/null || fail "the page has no plot of the steps"
# has_steps ROW: whether the JSON has numbers for the steps. On a busy machine a short run may see too few ticks.
has_steps() {
    row_of "$1" | grep '"step_[a-z_]*_us": [0-9]' >/dev/null
}
has_steps chain || fail "the JSON has no steps of chain"
for row in floor chain groups bigstate_1M ingest_100 actors; do
    ! has_steps $row || sed -n '/^us of a tick/,$p' "$work/table" | grep "^$row " >/dev/null ||
        fail "the table has no steps of $row"
done
! grep -E '^.{81}' "$work/table" || fail "the table has lines of more than 80 characters"
"$bench" --smoke --wide floor >"$work/wide" || fail "the run with --wide failed"
grep 'RSS MiB' "$work/wide" >/dev/null || fail "--wide shows no RSS"
! grep 'RSS MiB' "$work/table" >/dev/null || fail "the narrow table shows the RSS"
! grep -q done_ns "$work/one.json" || fail "a clock time is among the numbers"
grep -q '</html>' "$work/one.html" || fail "the page is not complete"

# A run is compared with an earlier one.
"$bench" --smoke --runs 2 chain --baseline "$work/one.json" >"$work/table" || fail "a comparison failed"
grep -q 'differ by more than the noise' "$work/table" || fail "no verdict on the baseline"
grep -q 'note: groups is only in the baseline' "$work/table" || fail "missing rows are not reported"

# with_runs A B: prints the report with A for each number of the first runs, and B for each of the second runs.
with_runs() {
    awk -v a="$1" -v b="$2" '
        /"runs": \[$/ { inside = 1; run = 0 }
        inside && /\{$/ { run++ }
        inside && /^ *\],?$/ { inside = 0 }
        inside && /": -?[0-9]/ { comma = /,$/ ? "," : ""; sub(/: .*/, ": " (run == 1 ? a : b) comma) }
        { print }' "$work/one.json"
}
# compare_with FILE: sets `differing` and `numbers` from the verdict.
compare_with() {
    local verdict
    "$bench" --smoke --runs 2 chain --baseline "$1" >"$work/table" || fail "a comparison with $1 failed"
    verdict=$(sed -n 's/^ *\([0-9]*\) of \([0-9]*\) numbers differ.*/\1 \2/p' "$work/table")
    [ -n "$verdict" ] || fail "no verdict on $1"
    read -r differing numbers <<<"$verdict"
}
with_runs 0 1e300 >"$work/all.json"
with_runs 1e300 1e300 >"$work/none_of.json"
compare_with "$work/all.json"
if [ "$numbers" -lt 10 ] || [ "$differing" -ne 0 ]; then
    fail "$differing of $numbers numbers differ from a range that contains them all"
fi
compare_with "$work/none_of.json"
[ "$differing" -eq "$numbers" ] || fail "only $differing of $numbers numbers differ from a range that contains none of them"

# Numbers from a busy machine are not compared. --smoke does not check that, since its numbers mean nothing.
sed 's/^\( *\)"floor_per_s"/\1"others_cpus": 0.5,\n&/' "$work/one.json" >"$work/busy.json"
compare_with "$work/busy.json"
[ "$numbers" -eq 0 ] || fail "$numbers numbers of a busy machine were compared"
grep 'not judged: chain: other programs used up to 0.50 CPUs then' "$work/table" >/dev/null ||
    fail "the busy machine is not reported"

# The table warns of busy programs.
for _ in 1 2 3 4; do
    (while :; do :; done) &
    loops+=($!)
done
"$bench" --runs 1 chain >"$work/table" || fail "a run with busy programs failed"
kill "${loops[@]}"
loops=()
grep '^warning: chain: other programs used up to [0-9.]* CPUs' "$work/table" >/dev/null || fail "no warning of busy programs"
! grep -E '^.{81}' "$work/table" || fail "the warning is longer than 80 characters"

# The private etcd's data are below DIR while it runs, and are removed afterwards.
mkdir "$work/disk"
printf '#!/bin/sh\nprintf "%%s\\n" "$@" >"${0%%/*}/etcd_arguments"\nexec etcd "$@"\n' >"$work/recording_etcd"
chmod +x "$work/recording_etcd"
"$bench" --smoke --disk "$work/disk" --etcd-path "$work/recording_etcd" --json "$work/disk.json" floor >"$work/table" ||
    fail "the run with --disk failed"
grep -A 1 -x -e --data-dir "$work/etcd_arguments" | grep "^$work/disk/" >/dev/null ||
    fail "etcd's data are not below the disk"
[ -z "$(ls -A "$work/disk")" ] || fail "files remain on the disk"
grep -q '"data": "disk"' "$work/disk.json" || fail "the report does not record that the data were on the disk"

# An etcd of the test: it is measured, and keeps running.
# start_etcd: starts it on a free port, and sets `port`.
start_etcd() {
    local attempt peer
    for attempt in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 6000))
        peer=http://127.0.0.1:$((port + 6000))
        etcd --data-dir "$work/etcd$attempt" --listen-client-urls "http://127.0.0.1:$port" \
            --advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "$peer" \
            --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" >"$work/etcd.log" 2>&1 &
        etcd_pid=$!
        while kill -0 "$etcd_pid" 2>/dev/null; do
            ! etcdctl --endpoints "127.0.0.1:$port" endpoint health >/dev/null 2>&1 || return 0
            sleep 0.1
        done
        etcd_pid=
    done
    fail "no etcd started: $(tail -n 1 "$work/etcd.log")"
}
start_etcd
"$bench" --smoke --etcd "127.0.0.1:$port" --json "$work/etcd.json" floor chain >"$work/table" ||
    fail "the run with --etcd failed"
grep -q "\"etcd\": \"127.0.0.1:$port\"" "$work/etcd.json" || fail "the report does not name the endpoints"
grep -q '"data": "external"' "$work/etcd.json" || fail "the report does not record that the etcd was not private"
for row in floor chain; do
    grep -q "^$row " "$work/table" || fail "no row $row with --etcd"
    etcdctl --endpoints "127.0.0.1:$port" get --prefix --keys-only /bench- | grep -e "[/-]$row-0/" >/dev/null ||
        fail "$row has written nothing to it"
done

# The options have their effect, and are in the report.
"$bench" --smoke --plain --cpu 0 --set max_txn_keys=16 --json "$work/set.json" --html "$work/set.html" floor chain groups \
    bigstate >"$work/table" || fail "the run with options failed"
grep -q '"plain": true' "$work/set.json" || fail "the report does not record the option plain"
grep -q '"cpu": 0' "$work/set.json" || fail "the report does not record the CPU"
grep -q '"max_txn_keys=16"' "$work/set.json" || fail "the report does not record the options"
grep -q '"txns_per_tick": 4.0' "$work/set.json" || fail "64 groups of a key each were not four transactions of 16 keys"
if command -v gnuplot >/dev/null; then
    [ "$(grep -c '<svg' "$work/set.html")" -eq 4 ] || fail "the page has not its four figures"
fi

# A failure during a measurement is not a command line error.
status=0
"$bench" --smoke --etcd 127.0.0.1:1 floor >"$work/table" 2>"$work/errors" || status=$?
[ $status -eq 1 ] || fail "status $status without an etcd"
grep -q 127.0.0.1:1 "$work/errors" || fail "the unreachable etcd is not named"

# Command line errors are found before anything is measured.
# refused WORD ARGUMENT...: expects status 2 and a message with WORD.
refused() {
    local word=$1 status=0
    shift
    "$bench" "$@" 2>"$work/errors" || status=$?
    [ $status -eq 2 ] || fail "$*: status $status"
    grep -q "$word" "$work/errors" || fail "$*: the message does not contain $word"
}
refused 'no such workload: nothing' nothing
refused exactly_once --set exactly_once=maybe chain
refused runs --runs 0 chain
refused 'cpu 4095' --cpu 4095 chain
refused disk --etcd 127.0.0.1:1 --disk "$work" chain
refused "$work/none.json" --baseline "$work/none.json" chain
echo '{' >"$work/broken.json"
refused "$work/broken.json" --baseline "$work/broken.json" chain
echo '{}' >"$work/empty.json"
refused "$work/empty.json" --baseline "$work/empty.json" chain
refused "$work/none/a.json" --json "$work/none/a.json" chain
refused "$work/none/a.html" --html "$work/none/a.html" chain
refused "$work/none" --disk "$work/none" chain
refused "$work/one.json" --disk "$work/one.json" chain
refused "$work" --json "$work" chain

# Ctrl-C: finished rows are printed.
mkfifo "$work/progress"
"$bench" --runs 1000 --smoke floor >"$work/table" 2>"$work/progress" &
pid=$!
exec 3<"$work/progress"
while read -r -t 60 line <&3; do
    case $line in *'run 3 of'*) break ;; esac
done
kill -TERM $pid
cat <&3 >"$work/errors"
status=0
wait $pid || status=$?
[ $status -eq 130 ] || fail "status $status after a signal"
grep -q '^floor ' "$work/table" || fail "a finished row is not in the table"
grep -q 'interrupted' "$work/errors" || fail "the interruption is not reported"

# The same while the private etcd is still starting: this one never answers.
printf '#!/bin/sh\n: >"${0%%/*}/slow_etcd_runs"\nexec sleep 60\n' >"$work/slow_etcd"
chmod +x "$work/slow_etcd"
"$bench" --etcd-path "$work/slow_etcd" --smoke floor 2>"$work/errors" &
pid=$!
for _ in {1..600}; do
    [ ! -e "$work/slow_etcd_runs" ] || break
    sleep 0.1
done
kill -TERM $pid
status=0
wait $pid || status=$?
[ $status -eq 130 ] || fail "status $status after a signal during the start"
grep -q 'nothing was finished' "$work/errors" || fail "the interruption of the start is not reported"
echo "test_bench: passed"
