#!/usr/bin/env bash
# The files of `cmake --install` are enough to build a program: headers, library, pkg-config file, protocol.
set -euo pipefail
: "${EW_BUILD_DIR:?}" "${EW_SOURCE_DIR:?}"
cc=${EW_CC:-cc}
read -r -a flags <<<"${EW_CFLAGS:-}"
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT

# Symbols that the compiler's runtimes add.
runtime='^(__(asan|odr_asan|tsan|ubsan|sanitizer|lsan|gcov|gcda|llvm|start_|stop_)|DW\.ref\.)'

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

cmake --install "$EW_BUILD_DIR" --prefix "$dir/usr" >"$dir/log" || { cat -- "$dir/log" && fail "install"; }
pc=$(find "$dir/usr" -name etcdworker.pc)
lib=$(dirname -- "$(dirname -- "$pc")")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
pkg() {
    pkg-config "$@" etcdworker
}

# gRPC's eighty libraries are for static linking only.
read -r -a cflags <<<"$(pkg --cflags)"
read -r -a libs <<<"$(pkg --libs)"
[ ${#libs[@]} -le 3 ] || fail "too many words in pkg-config --libs: ${libs[*]}"
[[ " $(pkg --libs --static) " == *" -lgrpc "* ]] || fail "static linking does not name grpc"
version=$(printf '#include <etcdworker/version.h>\nEW_VERSION\n' | "$cc" -E -P -I"$dir/usr/include" - | tail -n 1 | tr -d '" ')
[ "$version" = "$(pkg --modversion)" ] || fail "the package has version $(pkg --modversion), and the header $version"

# Each public header compiles alone, in C11 without extensions and in C++.
for header in "$dir"/usr/include/etcdworker/*.h; do
    echo "#include <etcdworker/${header##*/}>" >"$dir/one.c"
    "$cc" -std=c11 -pedantic -Wall -Wextra -Werror "${cflags[@]}" -fsyntax-only "$dir/one.c" ||
        fail "${header##*/} does not compile alone"
    if command -v c++ >/dev/null; then
        c++ -std=c++17 -Wall -Wextra -Werror "${cflags[@]}" -x c++ -fsyntax-only "$dir/one.c" ||
            fail "${header##*/} does not compile as C++"
    fi
done

# The two libraries export exactly the functions that the headers declare. The archives define no other global symbol.
globals() {
    nm "$@" | awk '$2 ~ /[TDRBVW]/ { sub(/@.*/, "", $3); print $3 }' | sort -u
}
globals -D --defined-only "$lib/libetcdworker.so" "$lib/libetcdworker-sim.so" >"$dir/offered"
nm -D --defined-only "$lib/libetcdworker.so" | grep -q ' ew_version@@ETCDWORKER_0$' || fail "ew_version has no version"
! grep -q '^ew_sim_' <(globals -D --defined-only "$lib/libetcdworker.so") || fail "the simulator is in libetcdworker.so"
for archive in etcdworker etcdworker-sim; do
    globals -g --defined-only "$lib/lib$archive.a" >"$dir/archive"
    globals -D --defined-only "$lib/lib$archive.so" >"$dir/shared"
    more=$(comm -23 "$dir/archive" "$dir/shared" | grep -vE "$runtime" | tr '\n' ' ' || true)
    [ -z "$more" ] || fail "lib$archive.a defines symbols that lib$archive.so does not: $more"
done
grep -hoE '\bew_[a-z0-9_]+\(' "$dir"/usr/include/etcdworker/*.h | tr -d '(' | sort -u >"$dir/mentioned"
sed -zE 's/\n +/ /g' "$dir"/usr/include/etcdworker/*.h | tr '\0' '\n' | grep -E '^EW_API' |
    sed -E 's/^EW_API [^(]*\b(ew_[a-z0-9_]+)\(.*/\1/' | sort -u >"$dir/declared"
[ -s "$dir/declared" ] || fail "no declarations found"
missing=$(comm -23 "$dir/declared" "$dir/offered" | tr '\n' ' ')
[ -z "$missing" ] || fail "declared but not in the library: $missing"
others=$(grep -v '^ew_' "$dir/offered" | grep -vE "$runtime" | tr '\n' ' ' || true)
[ -z "$others" ] || fail "symbols that are not ew_: $others"
unmentioned=$(grep '^ew_' "$dir/offered" | comm -13 "$dir/mentioned" - | tr '\n' ' ')
[ -z "$unmentioned" ] || fail "in the library but in no header: $unmentioned"

# A program is built with the installed library, and runs.
cat >"$dir/program.c" <<'END'
#include <etcdworker/etcdworker.h>
int main(void) {
    ew_options *options = ew_options_new();
    ew_options_free(options);
    return options == NULL || strcmp(ew_version(), EW_VERSION) != 0;
}
END
"$cc" -std=c11 -Wall -Wextra -Werror "${flags[@]}" "${cflags[@]}" -o "$dir/program" "$dir/program.c" "${libs[@]}"
"$dir/program" || fail "the program that uses the installed library failed"

# The same with find_package, shared and from the archive, and a simulation.
cat >"$dir/simulation.c" <<'END'
#include <etcdworker/sim.h>
int main(void) {
    ew_sim *s = ew_sim_new(1);
    int status = ew_sim_run(s, 1000);
    ew_sim_free(s);
    return status != EW_OK;
}
END
cat >"$dir/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(consumer C)
find_package(etcdworker $(pkg --modversion) REQUIRED)
add_executable(shared program.c)
target_link_libraries(shared etcdworker::etcdworker)
add_executable(archive program.c)
target_link_libraries(archive etcdworker::static)
add_executable(simulation simulation.c)
target_link_libraries(simulation etcdworker::sim)
END
cmake -G Ninja -S "$dir" -B "$dir/build" -DCMAKE_PREFIX_PATH="$dir/usr" -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS="${flags[*]}" \
    >"$dir/log" 2>&1 && cmake --build "$dir/build" >>"$dir/log" 2>&1 || { cat -- "$dir/log" && fail "the build with find_package failed"; }
for program in shared archive simulation; do
    "$dir/build/$program" || fail "the program $program, built with find_package, failed"
done

for file in etcd.proto actors.proto; do
    [ -s "$dir/usr/share/etcdworker/$file" ] || fail "$file is not installed"
    protoc-c --proto_path="$dir/usr/share/etcdworker" --c_out="$dir" "$file" || fail "$file cannot be used alone"
done
grep -q ' etcdworker__v1__submit__pack$' "$dir/actors.pb-c.h" || fail "actors.proto has another package"
grep -q ' etcdworker__etcd__v1__txn_request__unpack$' "$dir/etcd.pb-c.h" || fail "etcd.proto has another package"
for program in etcdworkerd etcdworker-bench; do
    [ -x "$dir/usr/bin/$program" ] || fail "$program is not installed"
    "$dir/usr/bin/$program" --version | grep -qF "$(pkg --modversion)" || fail "$program --version"
done
helper=$(find "$dir/usr" -name etcdworker-bench-actors)
"$helper" --child actors ticks=20 | grep -q '"txns":20,' || fail "etcdworker-bench-actors, of the benchmark's actors"
[ "$helper" != "$dir/usr/bin/etcdworker-bench-actors" ] || fail "etcdworker-bench-actors is in a user's PATH"
echo "installed: all files are complete"
