#!/usr/bin/env bash
# What `cmake --install` leaves behind is enough to build a program with: headers, library, pkg-config file, protocol.
set -euo pipefail
: "${EW_BUILD_DIR:?}" "${EW_SOURCE_DIR:?}"
cc=${EW_CC:-cc}
read -r -a flags <<<"${EW_CFLAGS:-}"
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

cmake --install "$EW_BUILD_DIR" --prefix "$dir/usr" >"$dir/log" || { cat -- "$dir/log" && fail "install"; }
pc=$(find "$dir/usr" -name etcdworker.pc)
lib=$(dirname -- "$(dirname -- "$pc")")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
pkg() {
    pkg-config --define-variable=prefix="$dir/usr" "$@" etcdworker
}

# gRPC's eighty libraries are for static linking only.
read -r -a cflags <<<"$(pkg --cflags)"
read -r -a libs <<<"$(pkg --libs)"
[ ${#libs[@]} -le 3 ] || fail "too many words in pkg-config --libs: ${libs[*]}"
[[ " $(pkg --libs --static) " == *" -lgrpc "* ]] || fail "static linking does not name grpc"
version=$(printf '#include <etcdworker/version.h>\nEW_VERSION\n' | "$cc" -E -P -I"$dir/usr/include" - | tail -n 1 | tr -d '" ')
[ "$version" = "$(pkg --modversion)" ] || fail "the package has version $(pkg --modversion), and the header $version"

# Each public header stands by itself, in C11 without extensions and in C++.
for header in "$dir"/usr/include/etcdworker/*.h; do
    echo "#include <etcdworker/${header##*/}>" >"$dir/one.c"
    "$cc" -std=c11 -pedantic -Wall -Wextra -Werror "${cflags[@]}" -fsyntax-only "$dir/one.c" ||
        fail "${header##*/} does not stand by itself"
    if command -v c++ >/dev/null; then
        c++ -std=c++17 -Wall -Wextra -Werror "${cflags[@]}" -x c++ -fsyntax-only "$dir/one.c" ||
            fail "${header##*/} is no C++"
    fi
done

# Every function that the headers declare is there, and nothing else is.
nm -D --defined-only "$lib/libetcdworker.so" | awk '$2 ~ /[TDRB]/ { print $3 }' | sort >"$dir/offered"
grep -hoE '\bew_[a-z0-9_]+\(' "$dir"/usr/include/etcdworker/*.h | tr -d '(' | sort -u >"$dir/mentioned"
sed -zE 's/\n +/ /g' "$dir"/usr/include/etcdworker/*.h | tr '\0' '\n' | grep -E '^EW_API' |
    sed -E 's/^EW_API [^(]*\b(ew_[a-z0-9_]+)\(.*/\1/' | sort -u >"$dir/declared"
[ -s "$dir/declared" ] || fail "no declarations found"
missing=$(comm -23 "$dir/declared" "$dir/offered" | tr '\n' ' ')
[ -z "$missing" ] || fail "declared but not in the library: $missing"
foreign=$(grep -vE '^(ew_|__(asan|odr_asan|tsan|ubsan|sanitizer|lsan|gcov))' "$dir/offered" | tr '\n' ' ' || true)
[ -z "$foreign" ] || fail "symbols that are not ew_: $foreign"
unmentioned=$(grep '^ew_' "$dir/offered" | comm -13 "$dir/mentioned" - | tr '\n' ' ')
[ -z "$unmentioned" ] || fail "in the library but in no header: $unmentioned"

# A program is built with it, and runs.
cat >"$dir/program.c" <<'END'
#include <etcdworker/etcdworker.h>
int main(void) {
    ew_options *options = ew_options_new();
    ew_options_free(options);
    return options == NULL || strcmp(ew_version(), EW_VERSION) != 0;
}
END
"$cc" -std=c11 -Wall -Wextra -Werror "${flags[@]}" "${cflags[@]}" -o "$dir/program" "$dir/program.c" "${libs[@]}"
"$dir/program" || fail "a program that uses the installed library"

for file in etcd.proto actors.proto; do
    [ -s "$dir/usr/share/etcdworker/$file" ] || fail "$file is not installed"
done
for program in etcdworkerd etcdworker-bench; do
    [ -x "$dir/usr/bin/$program" ] || fail "$program is not installed"
    "$dir/usr/bin/$program" --version | grep -qF "$(pkg --modversion)" || fail "$program --version"
done
helper=$(find "$dir/usr" -name etcdworker-bench-actors)
"$helper" --child actors ticks=20 | grep -q '"txns":20,' || fail "etcdworker-bench-actors, of the benchmark's actors"
[ "$helper" != "$dir/usr/bin/etcdworker-bench-actors" ] || fail "etcdworker-bench-actors is in a user's PATH"
echo "installed: everything is there"
