/* The reactor: the logic that is kept in step with the prefix.
 *
 * The worker ticks it when etcd changed or the timer fired, never while one of its groups is undecided, and never with
 * a state older than its own last commit. All of its functions are called on the worker's reactor thread, one at a
 * time. A slow tick delays nothing but the next tick: the watch is still drained and leases are still kept alive. */
#ifndef ETCDWORKER_REACTOR_H
#define ETCDWORKER_REACTOR_H

#include <etcdworker/group.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_tick ew_tick; /* one tick; valid until the tick function returns */

/* The call table. `size` is sizeof(ew_reactor), so that members may be added behind the last one. */
typedef struct ew_reactor {
    size_t size;

    /* One round of logic. Required. Answers EW_OK; EW_FINISHED to commit this tick's groups and then end the run with
     * success, with no further tick; or a negative error, which ends the run (ew_tick_fail gives it a text). If one of
     * the groups turns out EW_ERR_STALE, EW_FINISHED does not count: the reactor is ticked again. Any other positive
     * answer ends the run with EW_ERR_REACTOR. */
    int (*tick)(void *self, ew_tick *t);

    /* One change of one key, in the order of etcd's history, never merged, before the tick that may depend on it.
     * The first snapshot arrives as puts in key order with `initial` set. The event is valid for the length of the
     * call. Optional: leave it NULL to read the state through the tick alone, which costs nothing per event. Any answer
     * but EW_OK ends the run. */
    int (*update)(void *self, const ew_event *event);

    /* Forget the model that `update` built; the whole prefix follows as initial puts. Called before the first snapshot,
     * and when undelivered events outgrew `max_pending_update_bytes`. Optional. Any answer but EW_OK ends the run. */
    int (*reset)(void *self);

    /* Note what each tick reads, for ew_group_expect_reads. Costs some nanoseconds a read, and the memory of at most
     * twice `max_txn_keys` of them. */
    bool track_reads;
} ew_reactor;

/* An initialiser that fills `size`, in C and in C++: `static const ew_reactor mine = EW_REACTOR(.tick = my_tick);` */
#ifdef __cplusplus
#define EW_REACTOR(...) EW_CXX_FILLED_(ew_reactor, [], __VA_ARGS__)
#else
#define EW_REACTOR(...)                                                                                                \
    { .size = sizeof(ew_reactor), __VA_ARGS__ }
#endif

/* The revision that this tick sees, and the ones that follow see at least. It falls, as do the mod_revisions of keys,
 * only where etcd was restored from an older state (`histories_rewritten` in the statistics, SEMANTICS 14). */
EW_API int64_t ew_tick_revision(const ew_tick *t);

/* How many ticks there were before this one. */
EW_API uint64_t ew_tick_number(const ew_tick *t);

/* Milliseconds of a monotonic clock, taken when the tick began: the only clock a reactor needs, and the simulator's. */
EW_API int64_t ew_tick_now_ms(const ew_tick *t);

/* The prefix of the worker, in its normal form: one leading slash, no trailing one; empty for the whole keyspace. */
EW_API ew_slice ew_tick_prefix(const ew_tick *t);

/* Says why the tick fails, and answers `status`, so that a reactor can write `return ew_tick_fail(t, EW_ERR_REACTOR,
 * "no member has capacity %d", n);`. The run ends with `status` and this text, whatever the tick answers. The first
 * call counts. A `status` that is not negative is replaced by EW_ERR_INVALID. */
EW_API int ew_tick_fail(ew_tick *t, int status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Reads one key: EW_OK and `*out` (which may be NULL), or EW_ERR_NOT_FOUND. What the entry points at is valid until the
 * tick returns. */
EW_API int ew_tick_get(const ew_tick *t, ew_slice key, ew_entry *out);

/* Walks the keys that start with `prefix`, in byte order:
 *     ew_entry e = {0};
 *     while (ew_tick_scan(t, EW_STR("/app/tasks/"), &e)) ...
 * Start with a zeroed entry; each call moves it to the next key and answers false behind the last. Any number of scans
 * may run side by side. Cost: a step to the next key; one descent of the tree if another scan came between. */
EW_API bool ew_tick_scan(const ew_tick *t, ew_slice prefix, ew_entry *e);

/* How many keys the prefix holds, the reserved ones left out. */
EW_API size_t ew_tick_count(const ew_tick *t);

/* A new, empty group, after the ones before it. NULL when out of memory, which also ends the run. A group that stays
 * empty is done at once: it sends nothing and sets no barrier. */
EW_API ew_group *ew_tick_group(ew_tick *t);

/* ---- plugins: a reactor in a shared object, for `etcdworkerd --reactor ./mine.so` ---- */

#define EW_PLUGIN_ABI    2
#define EW_PLUGIN_SYMBOL "etcdworker_plugin"

/* What a plugin gets when it is created. Everything in it is valid until `destroy` returns. `size` is that of the
 * struct that the loading program knows: members may be added behind the last one. */
typedef struct ew_plugin_env {
    size_t size;
    const char *args;   /* the text of `reactor_args`, "" by default */
    const char *prefix; /* the worker's, in its normal form: "/app"; "" for the whole keyspace */
    const char *worker; /* its name */
} ew_plugin_env;

/* A plugin exports one `const ew_plugin etcdworker_plugin`, which EW_PLUGIN defines:
 *
 *     EW_PLUGIN(.name = "mine", .reactor = &mine, .create = create, .destroy = destroy);
 *
 * `abi` must be EW_PLUGIN_ABI of the program that loads it. A plugin may log with ew_log (<etcdworker/log.h>). */
typedef struct ew_plugin {
    uint32_t abi;
    const char *name;
    const ew_reactor *reactor;

    /* Makes the `self` of the reactor. On failure answers an error and fills `err`. Optional: without it `self` is
     * NULL. */
    int (*create)(void **self, const ew_plugin_env *env, ew_error *err);
    void (*destroy)(void *self); /* optional */
} ew_plugin;

#ifdef __cplusplus
}

/* Without extern "C" a const of C++ is visible to its own file alone. */
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
