/* Patch groups: the changes that a tick wants to write.
 *
 * A group is atomic: all of its patches are committed at one revision, or none of them. Groups are committed in the
 * order in which they were made, each exactly once. Several groups may share one etcd transaction; each is still
 * refused and retried by itself.
 *
 * A patch is *evaluated*, not recorded: when a group is refused because another client changed a key, its patches run
 * again, from the first one, on the newest state. So a patch function must be pure: its result may depend only on its
 * argument and on what it reads from the view, and it must change nothing else.
 *
 * WHICH CALL PROTECTS A DECISION depends on where the decision is made:
 *  - from the old value of the key that is written: ew_group_modify. It runs again on the newest value.
 *  - in a patch function, from what it read through its view: `isolation = serializable` protects all of these reads,
 *    ew_group_guard protects one key. Both protect the state of the evaluation, which for a refused group is newer than
 *    the tick's state.
 *  - in the tick, from ew_tick_get and ew_tick_scan: ew_group_expect_reads protects everything that the tick has read,
 *    including the absence of keys; ew_group_expect protects one key, and is called for each key that the decision
 *    depends on. A group whose expectation does not hold is dropped and never evaluated on newer state, and the reactor
 *    is ticked again.
 * Without any of these a group has no conditions: ew_group_put writes its value even if everything that the tick read
 * has changed since. examples/claim.c shows a decision made in a tick.
 *
 * Each ew_group_* function returns EW_OK or an error. The group keeps its first error, and a tick that leaves a failed
 * group ends the run with that error, so the return values may be ignored. All of them accept a NULL group
 * (ew_tick_group was out of memory). They may be called only inside the tick that made the group, on its thread. */
#ifndef ETCDWORKER_GROUP_H
#define ETCDWORKER_GROUP_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_group ew_group; /* owned by the library, which frees it when the group is decided */
typedef struct ew_view ew_view;   /* the state as a patch sees it */
typedef struct ew_value ew_value; /* where a modify function stores the new value */

/* A patch function returns EW_OK; one of the results in <etcdworker/error.h> (EW_IGNORE, EW_AGAIN, EW_DROP; a modify
 * function also EW_UNCHANGED and EW_REMOVE); or a negative error, which ends the run and names the group. */

/* Called once, when the library no longer needs `arg`: after the group is decided, or when the run ends before that. */
typedef void (*ew_drop_fn)(void *arg);

/* Modifies one key. `current` is NULL if the key is absent. EW_OK writes the value stored in `next` (an empty value if
 * none was stored), even if it equals the current value. */
typedef int (*ew_modify_fn)(void *arg, const ew_entry *current, ew_value *next);

/* Stores the new value; the bytes are copied. EW_ERR_NO_MEMORY makes the group fail even if the caller ignores it. */
EW_API ew_status ew_value_set(ew_value *next, ew_slice value);
EW_API ew_status ew_value_set_int(ew_value *next, int64_t number); /* as decimal text */

/* Reads and changes any keys of the prefix. */
typedef int (*ew_patch_fn)(void *arg, ew_view *view);

/* Access to the state that a patch sees: the newest state plus the changes of earlier patches and groups. ew_view_get
 * returns EW_OK with `*out` filled, or EW_ERR_NOT_FOUND; the slices are valid until the patch returns or changes that
 * key. A put or delete of a key that is outside the prefix or reserved returns EW_ERR_OUTSIDE_PREFIX and makes the
 * group fail. */
EW_API ew_status ew_view_get(ew_view *view, ew_slice key, ew_entry *out); /* `out` may be NULL */
EW_API ew_status ew_view_put(ew_view *view, ew_slice key, ew_slice value);
EW_API ew_status ew_view_delete(ew_view *view, ew_slice key);

/* What a put does with the key's lease. */
typedef enum ew_put_lease {
    EW_LEASE_NONE = 0,    /* detach the key from any lease (etcd's default) */
    EW_LEASE_KEEP = 1,    /* keep the key's lease. etcd refuses this for an absent key, so on an absent key it is a put
                             without a lease */
    EW_LEASE_SESSION = 2, /* attach the key to the worker's session. From then on the end of the session ends the run,
                             even if it is the worker's own session. EW_ERR_STATE ends the run if the worker has no
                             session */
} ew_put_lease;

/* The predefined patches. Keys and values are copied. `drop` may be NULL. */
EW_API ew_status ew_group_put(ew_group *g, ew_slice key, ew_slice value);
EW_API ew_status ew_group_put_lease(ew_group *g, ew_slice key, ew_slice value, ew_put_lease lease);
EW_API ew_status ew_group_delete(ew_group *g, ew_slice key);
EW_API ew_status ew_group_modify(ew_group *g, ew_slice key, ew_modify_fn fn, void *arg, ew_drop_fn drop);
EW_API ew_status ew_group_patch(ew_group *g, ew_patch_fn fn, void *arg, ew_drop_fn drop);

/* Commit only if `key`, which the group need not write, is unchanged since the state that the group was *evaluated* on.
 * This protects what the group's own patches read. It does not protect what the tick read: a refused group is evaluated
 * again on newer state, in which `key` may have another value or be absent, and the guard accepts that. See
 * ew_group_expect. */
EW_API ew_status ew_group_guard(ew_group *g, ew_slice key);

/* Commit only if `key` is unchanged since this *tick*: it has the same mod_revision, or is still absent, when the group
 * commits. Otherwise the group is dropped: none of it is written, its patches do not run on newer state, its callback
 * gets EW_ERR_STALE, the tick's other groups continue, and the reactor is ticked again. A change by an earlier group of
 * the same tick counts too, so put changes that belong together into one group. The group need not write `key`. It
 * takes the place of one key in a transaction. */
EW_API ew_status ew_group_expect(ew_group *g, ew_slice key);

/* Commit only if everything that the group's tick reads, before or after this call, is unchanged since the tick: each
 * key that ew_tick_get found or did not find, and each range that ew_tick_scan walked, in which no key may have been
 * added, changed or deleted. A scan that is stopped early counts up to the last key it returned; ew_tick_count counts
 * as a scan of the whole prefix. Otherwise the group is dropped as by ew_group_expect. The reactor must set
 * `track_reads`, or EW_ERR_STATE ends the run. State that a reactor keeps in a model of its own (`update`) is not read
 * in the tick: use ew_group_expect for it.
 *
 * Each key read and each range scanned takes the place of one key in a transaction. If a tick reads more than
 * `max_txn_keys` of them, the group fails with EW_ERR_TOO_LARGE: name the relevant keys with ew_group_expect instead. A
 * change by an earlier group of the same tick counts too, so one group should contain all decisions of a tick. */
EW_API ew_status ew_group_expect_reads(ew_group *g);

/* Calls `fn` once with the result of the group, on the reactor's thread, never inside the tick that made the group:
 *   EW_OK, revision R        committed at R (a group that changed nothing: the revision it was evaluated on)
 *   EW_ERR_STALE             an expectation did not hold; nothing was written, the reactor is ticked again
 *   EW_ERR_REFUSED           a patch returned EW_DROP; nothing was written, the run continues
 *   EW_ERR_TOO_LARGE         this group alone exceeds the transaction limits; nothing was written, the run continues
 *   EW_ERR_CANCELLED         the run ended first; nothing was written
 *   EW_ERR_UNKNOWN_OUTCOME   the run ended, and it is unknown whether the group was written
 *   any other error          the error that ended the run
 * Without a callback, a group over the limits ends the run with EW_ERR_TOO_LARGE; the detail names the group and its
 * size. */
typedef void (*ew_done_fn)(void *arg, ew_status status, int64_t revision);
EW_API ew_status ew_group_on_done(ew_group *g, ew_done_fn fn, void *arg);

/* Sets a name for logs and errors (default: "group 3"). Copied, truncated to 63 bytes. */
EW_API ew_status ew_group_name(ew_group *g, const char *name);

#ifdef __cplusplus
}
#endif
#endif
