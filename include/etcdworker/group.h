/* Patch groups: what a tick wants written.
 *
 * A group is one atomic transaction: all of its patches are committed at one revision, or none is. Groups are committed
 * in the order in which they were made, each exactly once. Several groups may share an etcd transaction; they are still
 * refused and retried one by one.
 *
 * A patch is *evaluated*, not recorded: when a group is refused because somebody else changed a key, its patches are
 * run again from the first one on the newest state. A patch function must therefore be pure: what it does may depend on
 * its argument and on what it reads from the view, and it must change nothing else.
 *
 * Every ew_group_* function answers EW_OK or an error, and the first error sticks to the group: a tick that ends with a
 * failed group ends the run with that error, so the answers may be ignored. All of them accept a NULL group (out of
 * memory in ew_tick_group). They may be called inside the tick that made the group, on its thread, and nowhere else. */
#ifndef ETCDWORKER_GROUP_H
#define ETCDWORKER_GROUP_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_group ew_group; /* owned by the tick; freed by the library when it is decided */
typedef struct ew_view ew_view;   /* the state as a patch sees it */
typedef struct ew_value ew_value; /* where a modify function writes its answer */

/* What a patch function may answer beside EW_OK and a negative error (which ends the run, naming the group). */
enum {
    EW_UNCHANGED = 1, /* modify only: leave the key as it is and do not write it */
    EW_REMOVE = 2,    /* modify only: delete the key */
    EW_IGNORE = 3,    /* leave this patch out of the group; whatever it had changed is undone */
    EW_AGAIN = 4,     /* abort the group for now and retry it when the state has moved */
};

/* Called once when the library needs `arg` no longer: after the group is decided, or when the run ends before. */
typedef void (*ew_drop_fn)(void *arg);

/* Modifies one key. `current` is NULL when the key is absent. EW_OK writes what was put into `next` (an empty value if
 * nothing was), even when it equals the current one. */
typedef int (*ew_modify_fn)(void *arg, const ew_entry *current, ew_value *next);

/* Sets the new value; the bytes are copied. EW_ERR_NO_MEMORY fails the group even if the caller ignores it. */
EW_API int ew_value_set(ew_value *next, ew_slice value);
EW_API int ew_value_set_int(ew_value *next, int64_t number); /* as decimal text */

/* Reads and changes any key of the prefix. */
typedef int (*ew_patch_fn)(void *arg, ew_view *view);

/* What the patch sees: the newest state, with the work of earlier patches and groups on top.
 * ew_view_get: EW_OK and `*out` filled, or EW_ERR_NOT_FOUND; the slices are valid until the patch returns or changes
 * that key. Put and delete of a key outside the prefix, or of a reserved one, answer EW_ERR_OUTSIDE_PREFIX and fail the
 * group. */
EW_API int ew_view_get(ew_view *view, ew_slice key, ew_entry *out);
EW_API int ew_view_put(ew_view *view, ew_slice key, ew_slice value);
EW_API int ew_view_delete(ew_view *view, ew_slice key);

/* How a put treats the key's lease. */
typedef enum ew_put_lease {
    EW_LEASE_NONE = 0,    /* detach the key from any lease (etcd's default) */
    EW_LEASE_KEEP = 1,    /* keep the lease the key has. The key must exist, else etcd refuses the transaction's put:
                             on an absent key this is a put without lease */
    EW_LEASE_SESSION = 2, /* bind it to the worker's session, whose end then ends the run, also if it is the worker's
                             own; EW_ERR_STATE ends the run if the worker has none */
} ew_put_lease;

/* The ready-made patches. Keys and values are copied. */
EW_API int ew_group_put(ew_group *g, ew_slice key, ew_slice value);
EW_API int ew_group_put_lease(ew_group *g, ew_slice key, ew_slice value, ew_put_lease lease);
EW_API int ew_group_delete(ew_group *g, ew_slice key);
EW_API int ew_group_modify(ew_group *g, ew_slice key, ew_modify_fn fn, void *arg, ew_drop_fn drop);
EW_API int ew_group_patch(ew_group *g, ew_patch_fn fn, void *arg, ew_drop_fn drop);

/* Commit only if `key` is still what it was in the state the group was evaluated on, without writing it. */
EW_API int ew_group_guard(ew_group *g, ew_slice key);

/* Tells `fn` what became of the group, once, on the reactor's thread, never inside the tick that made it:
 *   EW_OK, revision R    committed at R (for a group that changed nothing: the revision it was evaluated on)
 *   EW_ERR_TOO_LARGE     over the transaction limits by itself; nothing was written, the run goes on
 *   EW_ERR_CANCELLED     the run ended first; nothing was written
 *   EW_ERR_UNKNOWN_OUTCOME  the run ended and nobody knows
 *   any other error      the error that ended the run
 * Without a callback, a group over the limits ends the run with EW_ERR_TOO_LARGE naming the group and its size. */
typedef void (*ew_done_fn)(void *arg, int status, int64_t revision);
EW_API int ew_group_on_done(ew_group *g, ew_done_fn fn, void *arg);

/* A name for logs and errors ("group 3" otherwise). Copied, cut at 63 bytes. */
EW_API int ew_group_name(ew_group *g, const char *name);

#ifdef __cplusplus
}
#endif
#endif
