#!/usr/bin/env bash
# Compiles the public headers and their macros as C11, C17, C++17 and C++20, with each installed compiler, without
# extensions and without a warning. All compile one source, which also checks at run time what the macros filled in.
set -euo pipefail
: "${EW_SOURCE_DIR:?}"
include=$EW_SOURCE_DIR/include
dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
warnings=(-Wall -Wextra -Wpedantic -Wshadow -Werror)

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

cat >"$dir/macros.c" <<'END'
#include <etcdworker/etcdworker.h>
#include <etcdworker/sim.h>

static int tick(void *self, ew_tick *t) {
    (void)self;
    return ew_group_expect(ew_tick_group(t), EW_STR("/app/job"));
}

static ew_status update(void *self, const ew_event *event) {
    (void)self, (void)event;
    return EW_OK;
}

static ew_status create(void **self, const ew_plugin_env *env, ew_error *err) {
    *self = NULL;
    return env->args[0] == '\0' ? EW_OK : ew_fail(err, EW_ERR_INVALID, "it takes no argument");
}

static void destroy(void *self) {
    (void)self;
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick, .update = update);
EW_PLUGIN(.name = "macros", .reactor = &reactor, .create = create, .destroy = destroy);

/* What the program is linked with in place of the library. */
ew_status ew_group_expect(ew_group *g, ew_slice key) {
    return g == NULL && key.len == 8 ? EW_OK : EW_ERR_STATE;
}

ew_group *ew_tick_group(ew_tick *t) {
    (void)t;
    return NULL;
}

ew_status ew_fail(ew_error *err, ew_status code, const char *format, ...) {
    (void)err, (void)format;
    return code;
}

static int64_t limit_of(const ew_get_options *o) {
    return o->size == sizeof *o ? o->limit : -1;
}

static bool put_is_right(const ew_put_options *o, int64_t lease) {
    return o->size == sizeof *o && o->lease == lease && o->keep_value && !o->keep_lease && o->previous;
}

int main(void) {
    const ew_reactor inside = EW_REACTOR(.tick = tick);
    const ew_get_options all = EW_GET_OPTIONS(.limit = 1, .revision = 2, .serializable = true, .keys_only = true,
                                              .count_only = true, .sort_by = EW_SORT_MOD, .descending = true,
                                              .min_mod_revision = 3, .max_mod_revision = 4, .min_create_revision = 5,
                                              .max_create_revision = 6);
    const ew_scan_options scan = EW_SCAN_OPTIONS();
    const int64_t lease = 77;
    ew_plugin_env env = {sizeof env, "", "/app", "worker"};
    void *self = &env;
    bool right = EW_STR("a\0b").len == 3 && reactor.size == sizeof reactor && reactor.tick == tick &&
                 reactor.update == update && reactor.reset == NULL && inside.size == sizeof inside &&
                 inside.tick == tick && inside.update == NULL;
    right = right && etcdworker_plugin.abi == EW_PLUGIN_ABI && etcdworker_plugin.reactor == &reactor;
    right = right && etcdworker_plugin.create(&self, &env, NULL) == EW_OK && self == NULL && tick(NULL, NULL) == EW_OK;
    right = right && limit_of(&EW_GET_OPTIONS(.limit = 10)) == 10 && limit_of(&EW_GET_OPTIONS()) == 0;
    right = right && all.limit == 1 && all.revision == 2 && all.max_create_revision == 6 && all.sort_by == EW_SORT_MOD;
    const ew_delete_options delete_options = EW_DELETE_OPTIONS(.previous = true);
    right = right && delete_options.size == sizeof delete_options && delete_options.previous;
    right = right && EW_COMPACT_OPTIONS(.physical = true).physical && !EW_COMPACT_OPTIONS().physical;
    right = right && put_is_right(&EW_PUT_OPTIONS(.lease = lease, .keep_value = true, .previous = true), lease);
    right = right && scan.size == sizeof scan && EW_WATCH_OPTIONS(.progress = true).progress;
    return right ? 0 : 1;
}
END

# try LANGUAGE STANDARD COMPILER: compiles each header alone, then compiles and runs the source
try() {
    local header name
    for header in "$include"/etcdworker/*.h; do
        name=${header##*/}
        echo "#include <etcdworker/$name>" >"$dir/one.c"
        "$3" -x "$1" -std="$2" "${warnings[@]}" -I"$include" -fsyntax-only "$dir/one.c" ||
            fail "$name does not compile alone in $2, with $3"
    done
    "$3" -x "$1" -std="$2" "${warnings[@]}" -I"$include" -fvisibility=hidden -rdynamic -o "$dir/macros" "$dir/macros.c" ||
        fail "the macros do not compile in $2, with $3"
    "$dir/macros" || fail "the macros fill in other values in $2, with $3"
    nm -D --defined-only "$dir/macros" | grep -q ' etcdworker_plugin$' ||
        fail "EW_PLUGIN exports no etcdworker_plugin in $2, with $3"
    tried=$((tried + 1))
}

tried=0
for compiler in gcc clang; do
    ! command -v $compiler >/dev/null || { try c c11 $compiler && try c c17 $compiler; }
done
for compiler in g++ clang++; do
    ! command -v $compiler >/dev/null || { try c++ c++17 $compiler && try c++ c++20 $compiler; }
done
[ $tried -gt 0 ] || fail "there is no compiler"
echo "headers: $tried compilers and standards"
