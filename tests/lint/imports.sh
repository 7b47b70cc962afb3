#!/usr/bin/env bash
# Checks which folder includes which: the rules are those of docs/architecture.md; and a name that the tests cannot use.
# Usage: imports.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

bad=0

# forbid WHY REGEX FILE...: complains about #include lines that match.
forbid() {
    local why=$1 regex=$2
    shift 2
    if grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]+$regex" -- "$@" /dev/null; then
        echo "imports: $why" >&2
        bad=1
    fi
}

core=(src/core/*.[ch])
etcd=(src/etcd/*.[ch])
actors=(src/actors/*.[ch])
service=(src/service/*.[ch])
sim=(src/sim/*.[ch])
bench=(bench/*.[ch])
memory=(bench/memory_etcd/*.[ch])
headers=(include/etcdworker/*.h)

nng_free=("${core[@]}" "${etcd[@]}" "${sim[@]}" "${memory[@]}" "${headers[@]}")
for file in "${actors[@]}" "${service[@]}"; do
    case $file in
    src/actors/mailbox*.c | src/actors/mailbox_*.h) ;;
    *) nng_free+=("$file") ;;
    esac
done

forbid "only src/etcd includes gRPC" '[<"]grpc' \
    "${core[@]}" "${actors[@]}" "${service[@]}" "${sim[@]}" "${bench[@]}" "${memory[@]}" "${headers[@]}"
forbid "only the mailboxes include nng" '[<"]nng/|"actors/mailbox_' "${nng_free[@]}"
forbid "src/core and src/sim have no threads, clocks, files or sockets" \
    '<(pthread|threads|time|sys/time|unistd|fcntl|poll|sys/socket|sys/stat)\.h' "${core[@]}" "${sim[@]}"
forbid "src/core includes nothing of ours but src/core" '"(etcd|actors|service|sim|bench|lib)/' "${core[@]}"
forbid "src/sim includes nothing of ours but src/core" '"(etcd|actors|service|bench|lib)/' "${sim[@]}"
forbid "src/etcd decides nothing and knows no actor" \
    '"(core/(watching|ticking|committing|mirror)|actors|service|sim|bench|lib)' "${etcd[@]}"
forbid "src/actors does not know the service" '"(service|sim|bench|lib)/' "${actors[@]}"
forbid "src/service is not for tests" '"(sim|bench|lib)/' "${service[@]}"
forbid "the benchmark uses the public headers, etcd/ for its floor, and the service's private etcd" \
    '"(core|actors|service/[^d]|service/d[^e]|sim|lib)/' "${bench[@]}"
forbid "the etcd in memory is the simulator's model with the interfaces of a client" \
    '"((core|actors|service|lib)/|etcd/([^ebkl]|blocking\.)|sim/[^em])' "${memory[@]}"

# cmocka 2 makes a macro of this name.
if grep -nE '(^|[^[:alnum:]_])stop\(' -- tests/*/*.[ch]; then
    echo "imports: in the tests no function is called stop; say what it stops" >&2
    bad=1
fi
exit $bad
