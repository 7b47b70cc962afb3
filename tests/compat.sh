#!/usr/bin/env bash
# Runs the integration tests and short rounds of faults against etcd 3.4 and 3.5, on one node and on three, with the
# release build. Fetches an etcd that the machine does not have from a Debian release, from the cache that the
# machine's apt uses, and keeps it in build/tools. Usage: compat.sh
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

root=$PWD
jobs=$(nproc)

die() {
    echo "compat: $*" >&2
    exit 1
}

# cache: prints the first Debian archive in the machine's apt configuration.
cache() {
    apt-get indextargets --format '$(ORIGIN) $(SITE)' 'Created-By: Packages' | sed -n '/-security$/d; s/^Debian //p' |
        sed -n 1p
}

# fetch SUITE DIR: unpacks the suite's etcd into DIR. apt uses a separate configuration, so that the machine's does not
# change, and checks the packages against Debian's keys.
fetch() {
    local suite=$1 dir=$2 apt=$root/build/apt-$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg site
    site=$(cache)
    [ -n "$site" ] || die "apt's configuration names no Debian archive"
    [ -e "$keyring" ] || die "please install debian-archive-keyring"
    rm -rf -- "$apt" "$dir"
    mkdir -p -- "$apt/state/lists/partial" "$apt/cache/archives/partial" "$dir"
    echo "deb [signed-by=$keyring] $site $suite main" >"$apt/sources.list"
    local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State=$apt/state"
        -o Dir::State::status=/dev/null -o "Dir::Cache=$apt/cache" -o Acquire::Languages=none
        -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root)
    (
        cd -- "$dir"
        apt-get "${options[@]}" update >&2
        apt-get "${options[@]}" download etcd-server etcd-client >&2
        dpkg-deb -x etcd-server_*.deb .
        dpkg-deb -x etcd-client_*.deb .
        rm -f -- ./*.deb
    )
    rm -rf -- "$apt"
}

# etcd_of VERSION SUITE: prints the directory of an etcd of that version.
etcd_of() {
    local version=$1 suite=$2 dir=$root/build/tools/etcd-$1 own
    own=$(command -v etcd) || own=
    if [ -n "$own" ] && "$own" --version | grep -q "^etcd Version: ${version//./\\.}\." && [ -x "${own%/*}/etcdctl" ]; then
        echo "${own%/*}"
        return
    fi
    if [ ! -x "$dir/usr/bin/etcd" ] || [ ! -x "$dir/usr/bin/etcdctl" ]; then
        fetch "$suite" "$dir.new"
        rm -rf -- "$dir"
        mv -- "$dir.new" "$dir"
    fi
    [ -x "$dir/usr/bin/etcd" ] && [ -x "$dir/usr/bin/etcdctl" ] || die "Debian $suite has no etcd $version in its packages"
    echo "$dir/usr/bin"
}

# run NAME FOLDER NODES CTEST_ARGUMENT...: runs tests with the etcd of that directory.
run() {
    local name=$1 folder=$2 nodes=$3
    shift 3
    echo "== $name"
    PATH=$folder:$PATH EW_ETCD_NODES=$nodes ctest --test-dir build/release --no-tests=error --stop-on-failure \
        --output-on-failure --parallel "$((3 * jobs))" "$@"
}

for version in 3.4:bookworm 3.5:trixie; do
    folder=$(etcd_of "${version%:*}" "${version#*:}")
    etcd="etcd $("$folder/etcd" --version | sed -n 's/^etcd Version: //p')"
    # Leaves out tests that do not use etcd.
    run "$etcd, one node" "$folder" 1 -R '^integration/' -E '/(bench|mailbox|client_(answers|fake_server|tokens))$'
    # On three nodes, runs the tests that do not cause faults of a single server.
    run "$etcd, three nodes" "$folder" 3 \
        -R '^integration/(client|client_(auth|tls|watch)|reload|session|election|scenario_.*|worker_.*)$'
    run "$etcd, faults on one node and on three" "$folder" 1 -R '^chaos/nodes_'
done
echo "all versions: $SECONDS s"
