/* Patch groups: what a tick wants written.
 *
 * A group is one atomic transaction: all of its patches are committed at one revision, or none is. Groups are committed
 * in the order in which they were made, each exactly once. Several groups may share an etcd transaction; they are still
 * refused and retried one by one.
 *
 * A patch is *evaluated*, not recorded: when a group is refused because another client changed a key, its patches are
 * run again from the first one on the newest state. A patch function must therefore be pure: what it does may depend on
 * its argument and on what it reads from the view, and it must change nothing else.
 *
 * WHICH CALL PROTECTS A DECISION depends on where it was made:
 *  - from the old value of the key that is written: ew_group_modify. It runs again on the newest value.
 *  - in a patch function, from what it read through its view: `isolation = serializable` protects all of these reads,
 *    ew_group_guard one key. Both protect the state at the evaluation, which for a refused group is newer than the
 *    tick's.
 *  - in the tick, from ew_tick_get and ew_tick_scan: ew_group_expect_reads, which protects all that the tick has read,
 *    also the absence of keys; or ew_group_expect, for each key that the decision depends on. A group whose expectation
 *    does not hold is dropped, never evaluated on newer state, and the reactor is ticked again.
 * A group with none of them stands on nothing: ew_group_put writes what it was given even if everything that the tick
 * read has changed since. examples/claim.c shows a decision of a tick.
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

/* A patch function answers EW_OK, one of the answers in <etcdworker/error.h> (EW_IGNORE, EW_AGAIN, EW_DROP; a modify
 * function also EW_UNCHANGED and EW_REMOVE), or a negative error, which ends the run and names the group. */

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
EW_API int ew_view_get(ew_view *view, ew_slice key, ew_entry *out); /* `out` may be NULL */
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

/* Commit only if `key` is still what it was in the state that the group was *evaluated* on, without writing it. This
 * protects what the group's own patches read. It does not protect what the tick read: a refused group is evaluated
 * again on newer state, in which `key` may be another, or gone, and the guard accepts that. See ew_group_expect. */
EW_API int ew_group_guard(ew_group *g, ew_slice key);

/* Commit only if `key` is still as this *tick* saw it: at the same mod_revision, or absent, when the group commits. If
 * it is not, the group is dropped: nothing of it is written, its patches are not run on newer state, its callback gets
 * EW_ERR_STALE, the tick's other groups go on, and the reactor is ticked again. A change by an earlier group of the
 * same tick counts too: put what belongs together into one group. `key` need not be written by the group; it takes the
 * place of one key in a transaction. */
EW_API int ew_group_expect(ew_group *g, ew_slice key);

/* Commit only if everything that the group's tick has read, before this call and after it, is still as the tick saw it:
 * keys that ew_tick_get found or did not find, and what ew_tick_scan walked over, in which no key may have been added,
 * changed or deleted (a scan that is broken off counts up to the last key it gave; ew_tick_count counts as a scan of
 * the whole prefix). Otherwise the group is dropped, as by ew_group_expect. The reactor must have asked for it with
 * `track_reads`; EW_ERR_STATE ends the run otherwise. What a reactor keeps in a model of its own (`update`) is not read
 * in the tick: use ew_group_expect for it.
 *
 * Each key that was read and each range that was scanned takes the place of one key in a transaction. A tick that reads
 * more than `max_txn_keys` of them makes the group EW_ERR_TOO_LARGE: name the keys that matter with ew_group_expect. A
 * change by an earlier group of the same tick counts too, so one group should hold all that a tick decides. */
EW_API int ew_group_expect_reads(ew_group *g);

/* Tells `fn` what became of the group, once, on the reactor's thread, never inside the tick that made it:
 *   EW_OK, revision R    committed at R (for a group that changed nothing: the revision it was evaluated on)
 *   EW_ERR_STALE         an expectation did not hold; nothing was written, the reactor is ticked again
 *   EW_ERR_REFUSED       a patch answered EW_DROP; nothing was written, the run goes on
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
