/* The reactor: the program's logic, which the worker keeps in step with the prefix.
 *
 * The worker ticks the reactor when etcd changed or the timer fired, never while one of its groups is undecided, and
 * never with a state older than the worker's own last commit. All functions of a reactor are called on the worker's
 * reactor thread, one at a time. A slow tick delays only the next tick: the watch is still read and leases are still
 * kept alive. */
#ifndef ETCDWORKER_REACTOR_H
#define ETCDWORKER_REACTOR_H

#include <etcdworker/group.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_tick ew_tick; /* one tick; valid until the tick function returns */

/* The reactor's functions. `size` is sizeof(ew_reactor), so that later versions can append members. */
typedef struct ew_reactor {
    size_t size;

    /* Runs the logic once. Required. Returns EW_OK; EW_FINISHED to commit this tick's groups and then end the run with
     * success, without a further tick; or a negative error, which ends the run (ew_tick_fail gives it a text). If one
     * of the groups gets EW_ERR_STALE, EW_FINISHED is ignored and the reactor is ticked again. Any other positive value
     * ends the run with EW_ERR_REACTOR. */
    int (*tick)(void *self, ew_tick *t);

    /* Receives one change of one key, in the order of etcd's history, never merged, before the tick that may depend on
     * it. The first snapshot arrives as puts in key order with `initial` set. The event is valid for the duration of
     * the call. Optional: if it is NULL, the reactor reads the state in the tick only, which costs nothing per event.
     * Any result but EW_OK ends the run. */
    ew_status (*update)(void *self, const ew_event *event);

    /* Discards the model that `update` built; the whole prefix follows as initial puts. Called before the first
     * snapshot, and when undelivered events exceed `max_pending_update_bytes`. Optional. Any result but EW_OK ends the
     * run. */
    ew_status (*reset)(void *self);

    /* Record what each tick reads, for ew_group_expect_reads. Costs some nanoseconds per read, and memory for at most
     * twice `max_txn_keys` reads. */
    bool track_reads;
} ew_reactor;

/* An initialiser that sets `size`, in C and in C++: `static const ew_reactor mine = EW_REACTOR(.tick = my_tick);` */
#ifdef __cplusplus
#define EW_REACTOR(...) EW_CXX_FILLED_(ew_reactor, [], __VA_ARGS__)
#else
#define EW_REACTOR(...)                                                                                                \
    { .size = sizeof(ew_reactor), __VA_ARGS__ }
#endif

/* Returns the revision that this tick sees. Later ticks see at least this revision, except after etcd was restored from
 * an older state: then it falls, and so may the mod_revisions of keys (`histories_rewritten` in the statistics,
 * SEMANTICS 14). */
EW_API int64_t ew_tick_revision(const ew_tick *t);

/* Returns the number of ticks before this one. */
EW_API uint64_t ew_tick_number(const ew_tick *t);

/* Returns the time at which the tick began, in milliseconds of a monotonic clock. In the simulator it is simulated
 * time, so a reactor should use no other clock. */
EW_API int64_t ew_tick_now_ms(const ew_tick *t);

/* Returns the worker's prefix in its normal form: one leading slash, no trailing slash; empty for the whole
 * keyspace. */
EW_API ew_slice ew_tick_prefix(const ew_tick *t);

/* Sets the error with which the tick fails and returns `status`, so that a reactor can write `return ew_tick_fail(t,
 * EW_ERR_REACTOR, "no member has capacity %d", n);`. The run ends with `status` and this text, whatever the tick
 * returns. Only the first call counts. A `status` that is not negative is replaced by EW_ERR_INVALID. */
EW_API ew_status ew_tick_fail(ew_tick *t, ew_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Reads one key. Returns EW_OK and sets `*out` (which may be NULL), or returns EW_ERR_NOT_FOUND. The entry's slices are
 * valid until the tick returns. */
EW_API ew_status ew_tick_get(const ew_tick *t, ew_slice key, ew_entry *out);

/* Iterates over the keys that start with `prefix`, in byte order:
 *     ew_entry e = {0};
 *     while (ew_tick_scan(t, EW_STR("/app/tasks/"), &e)) ...
 * Start with a zeroed entry. Each call moves it to the next key, and returns false after the last one. Any number of
 * scans may be interleaved. Cost: one step to the next key; one descent of the tree if another scan came in between. */
EW_API bool ew_tick_scan(const ew_tick *t, ew_slice prefix, ew_entry *e);

/* Returns the number of keys in the prefix, without the reserved ones. */
EW_API size_t ew_tick_count(const ew_tick *t);

/* Makes an empty group, which follows this tick's earlier groups. The library owns it. NULL when out of memory, which
 * also ends the run. A group that stays empty is decided at once: it sends nothing and sets no barrier. */
EW_API ew_group *ew_tick_group(ew_tick *t);

/* ---- plugins: a reactor in a shared object, for `etcdworkerd --reactor ./mine.so` ---- */

#define EW_PLUGIN_ABI    2
#define EW_PLUGIN_SYMBOL "etcdworker_plugin"

/* The arguments of a plugin's `create`. Everything in it is valid until `destroy` returns. `size` is the size of the
 * struct in the loading program, so that later versions can append members. */
typedef struct ew_plugin_env {
    size_t size;
    const char *args;   /* the text of `reactor_args`, "" by default */
    const char *prefix; /* the worker's prefix in its normal form: "/app"; "" for the whole keyspace */
    const char *worker; /* the worker's name */
} ew_plugin_env;

/* A plugin exports one `const ew_plugin etcdworker_plugin`, which EW_PLUGIN defines:
 *
 *     EW_PLUGIN(.name = "mine", .reactor = &mine, .create = create, .destroy = destroy);
 *
 * `abi` must equal EW_PLUGIN_ABI of the program that loads it. A plugin may log with ew_log (<etcdworker/log.h>). */
typedef struct ew_plugin {
    uint32_t abi;
    const char *name;
    const ew_reactor *reactor;

    /* Makes the reactor's `self`. On failure returns an error and fills `err`. Optional: without it `self` is NULL. */
    ew_status (*create)(void **self, const ew_plugin_env *env, ew_error *err);
    void (*destroy)(void *self); /* frees `self`; optional */
} ew_plugin;

#ifdef __cplusplus
}

/* In C++ a const object has internal linkage without extern "C". */
#define EW_PLUGIN_TABLE_(...)                                                                                          \
    ([] {                                                                                                              \
        ew_plugin ew_cxx_it{};                                                                                         \
        ew_cxx_it.abi = EW_PLUGIN_ABI;                                                                                 \
        EW_CXX_SET_(__VA_ARGS__, , , , , , , , , , , )                                                                 \
        return ew_cxx_it;                                                                                              \
    }())
#define EW_PLUGIN(...)                                                                                                 \
    extern "C" EW_API const ew_plugin etcdworker_plugin;                                                               \
    const ew_plugin etcdworker_plugin = EW_PLUGIN_TABLE_(__VA_ARGS__)
#else
#define EW_PLUGIN(...)                                                                                                 \
    EW_API extern const ew_plugin etcdworker_plugin;                                                                   \
    const ew_plugin etcdworker_plugin = {.abi = EW_PLUGIN_ABI, __VA_ARGS__}
#endif
#endif
