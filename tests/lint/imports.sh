#!/usr/bin/env bash
# Checks which module includes which, by the rules of docs/architecture.md, and that no test uses a reserved name.
# Usage: imports.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

bad=0

# forbid WHY REGEX FILE...: reports #include lines that match.
forbid() {
    local why=$1 regex=$2
    shift 2
    if grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]+$regex" -- "$@" /dev/null; then
        echo "imports: $why" >&2
        bad=1
    fi
}

core=(src/core/*.[ch])
shell=(src/shell/*.[ch])
etcd=(src/etcd/*.[ch])
actors=(src/actors/*.[ch])
service=(src/service/*.[ch])
sim=(src/sim/*.[ch])
bench=(bench/*.[ch])
memory=(bench/memory_etcd/*.[ch])
headers=(include/etcdworker/*.h)

nng_free=("${core[@]}" "${shell[@]}" "${etcd[@]}" "${sim[@]}" "${memory[@]}" "${headers[@]}")
for file in "${actors[@]}" "${service[@]}"; do
    case $file in
    src/actors/mailbox*.c | src/actors/mailbox_*.h) ;;
    *) nng_free+=("$file") ;;
    esac
done

forbid "only src/etcd includes gRPC" '[<"]grpc' \
    "${core[@]}" "${shell[@]}" "${actors[@]}" "${service[@]}" "${sim[@]}" "${bench[@]}" "${memory[@]}" "${headers[@]}"
forbid "only the mailboxes include nng" '[<"]nng/|"actors/mailbox_' "${nng_free[@]}"
forbid "src/core, src/shell and src/sim have no threads, clocks, files or sockets" \
    '<(pthread|threads|time|sys/time|unistd|fcntl|poll|sys/socket|sys/stat)\.h' "${core[@]}" "${shell[@]}" "${sim[@]}"
forbid "src/core includes no other module" '"(shell|etcd|actors|service|sim|bench|lib)/' "${core[@]}"
forbid "src/shell includes no other module than src/core" '"(etcd|actors|service|sim|bench|lib)/' "${shell[@]}"
forbid "src/sim includes no other module than src/core and src/shell" '"(etcd|actors|service|bench|lib)/' "${sim[@]}"
forbid "src/etcd includes neither the cores that decide, nor the shell, nor the actors" \
    '"(core/(watching|ticking|committing|cache)|shell|actors|service|sim|bench|lib)' "${etcd[@]}"
forbid "src/actors does not include the service" '"(service|sim|bench|lib)/' "${actors[@]}"
forbid "src/service does not include the simulator, the benchmark or test code" '"(sim|bench|lib)/' "${service[@]}"
forbid "bench includes only the public headers, etcd/ for its floor, actors/observe.h, and the service's private etcd" \
    '"((core|shell|sim|lib)/|actors/[^o]|service/([^d]|d[^e]))' "${bench[@]}"
forbid "bench/memory_etcd includes only the simulator's model and the interfaces of a client" \
    '"((core|shell|actors|service|lib)/|etcd/([^ebkl]|blocking\.)|sim/[^em])' "${memory[@]}"

# cmocka 2 defines a macro of this name.
if grep -nE '(^|[^[:alnum:]_])stop\(' -- tests/*/*.[ch]; then
    echo "imports: a test function is called stop; name what it stops" >&2
    bad=1
fi
exit $bad
