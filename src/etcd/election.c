/* A candidate of an election (SEMANTICS 31). All its writes are idempotent: entering creates the key only if it does
 * not exist, and every other write changes only the key with our create revision. So a write whose response was lost is
 * sent again. */
#include "etcd/election.h"
#include "etcd/backoff.h"
#include "etcd/connection.h"
#include "etcd/waiter.h"

#include "core/argument.h"
#include "core/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The wait between two attempts while etcd is unavailable, in addition to the waits inside the calls. */
#define AGAIN_MIN_MS 50
#define AGAIN_MAX_MS 1000

struct ew_election {
    ew_client *client;
    ew_session *session;
    char *prefix, *key;
    bool stood;                /* the key may exist */
    int64_t entered;           /* the create revision of the key; 0: not known */
    _Atomic int64_t revision;  /* the same while this candidate is the leader, otherwise 0 */
    int64_t deadline_ms;       /* of the blocking call */
    interruption interruption; /* by ew_election_cancel, or by the end of the session */
};

/* ---- life ---- */

static void on_session_done(void *arg) {
    ew_election *e = arg;
    interruption_session_done(&e->interruption);
}

char *election_prefix(ew_slice name) {
    char *prefix = malloc(name.len + 2);
    if (!prefix)
        return NULL;
    memcpy(prefix, name.data, name.len);
    prefix[name.len] = '/';
    prefix[name.len + 1] = '\0';
    return prefix;
}

static void free_election(ew_election *e) {
    free(e->prefix);
    free(e->key);
    free(e);
}

int election_check_name(ew_slice name, ew_error *err) {
    if (name.len == 0 || memchr(name.data, '\0', name.len))
        return ew_fail(err, EW_ERR_INVALID, "election: the name is empty or holds a NUL");
    return EW_OK;
}

ew_status ew_election_open(ew_election **out, ew_client *client, ew_session *session, ew_slice name, ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(client, err) || ARGUMENT_MISSING(session, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(client, err);
    if (status == EW_OK)
        status = election_check_name(name, err);
    if (status != EW_OK)
        return status;
    ew_election *e = calloc(1, sizeof *e);
    if (!e)
        return ew_fail(err, EW_ERR_NO_MEMORY, "election");
    e->client = client;
    e->session = session;
    e->prefix = election_prefix(name);
    if (!e->prefix || asprintf(&e->key, "%s%" PRIx64, e->prefix, (uint64_t)ew_session_lease(session)) < 0) {
        e->key = NULL;
        free_election(e);
        return ew_fail(err, EW_ERR_NO_MEMORY, "election");
    }
    status = interruption_init(&e->interruption);
    if (status == EW_OK && (status = ew_session_on_done(session, on_session_done, e)) != EW_OK)
        interruption_fini(&e->interruption);
    if (status != EW_OK) {
        free_election(e);
        return ew_fail(err, status, "election");
    }
    *out = e;
    return EW_OK;
}

void ew_election_close(ew_election *e) {
    if (!e || etcd_check_process(e->client, NULL) != EW_OK)
        return;
    ew_session_forget(e->session, on_session_done, e);
    interruption_fini(&e->interruption);
    free_election(e);
}

ew_slice ew_election_key(const ew_election *e) {
    if (!e)
        return (ew_slice){NULL, 0};
    return ew_str(e->key);
}

int64_t ew_election_revision(const ew_election *e) {
    if (!e)
        return 0;
    return ew_session_is_done(e->session) ? 0 : atomic_load(&((ew_election *)(uintptr_t)e)->revision);
}

ew_session *ew_election_session(const ew_election *e) {
    if (!e)
        return NULL;
    return e->session;
}

void ew_election_cancel(ew_election *e) {
    if (!e || etcd_check_process(e->client, NULL) != EW_OK)
        return;
    interruption_cancel(&e->interruption);
}

/* ---- the key ---- */

static ew_keys own(const ew_election *e) {
    return ew_keys_one(ew_str(e->key));
}

static int send_txn(ew_election *e, ew_txn *t, ew_result **out, ew_error *err) {
    int status = t ? ew_client_txn(e->client, t, out, err) : ew_fail(err, EW_ERR_NO_MEMORY, "election");
    ew_txn_free(t);
    /* NOT_FOUND can only mean the lease. */
    return status == EW_ERR_NOT_FOUND
               ? ew_fail(err, EW_ERR_SESSION_DONE, "election: the session's lease does not exist any more")
               : status;
}

static ew_txn *if_entered(const ew_election *e) {
    ew_txn *t = ew_txn_new();
    ew_txn_if(t, own(e), EW_CREATE_REVISION, EW_EQUAL, e->entered);
    return t;
}

static ew_put_options with_lease(const ew_election *e) {
    return EW_PUT_OPTIONS(.lease = ew_session_lease(e->session));
}

/* Puts `value` to our key, or deletes it if `value` is NULL, if it is still the key that we created. `*held`: it was.
 */
static int change_key(ew_election *e, const ew_slice *value, bool *held, ew_error *err) {
    ew_result *r = NULL;
    ew_txn *t = if_entered(e);
    const ew_put_options options = with_lease(e);
    if (value)
        ew_txn_put(t, EW_THEN, ew_str(e->key), *value, &options);
    else
        ew_txn_delete(t, EW_THEN, own(e), NULL);
    int status = send_txn(e, t, &r, err);
    *held = status == EW_OK && ew_result_succeeded(r);
    ew_result_free(r);
    return status;
}

static void leave(ew_election *e) {
    e->entered = 0;
    atomic_store(&e->revision, 0);
}

/* Creates the key, or adopts the one that an earlier attempt or an earlier campaign has left. */
static int enter(ew_election *e, ew_slice value, ew_error *err) {
    ew_result *r = NULL;
    const ew_put_options options = with_lease(e);
    ew_txn *t = ew_txn_new();
    ew_txn_if(t, own(e), EW_CREATE_REVISION, EW_EQUAL, 0);
    ew_txn_put(t, EW_THEN, ew_str(e->key), value, &options);
    ew_txn_get(t, EW_ELSE, own(e), NULL);
    e->stood = true;
    int status = send_txn(e, t, &r, err);
    if (status != EW_OK)
        return status;
    const ew_kv *there = ew_result_succeeded(r) ? NULL : ew_result_at(ew_result_op(r, 0), 0);
    if (!ew_result_succeeded(r) && !there)
        status = ew_fail(err, EW_ERR_BAD_ANSWER, "election: invalid response: a key that exists was not found");
    else
        e->entered = there ? there->create_revision : ew_result_revision(r);
    bool held = true, other = there && (!ew_slice_equal(there->value, value) || there->lease != options.lease);
    ew_result_free(r);
    if (status == EW_OK && other)
        status = change_key(e, &value, &held, err);
    if (status == EW_OK && !held)
        leave(e);
    return status;
}

/* Reads the candidate directly before us into `*out`: `*before` is its key, or NULL if there is none, so that we are
 * the leader. If our own key is gone, `entered` becomes 0, and the next step enters again. */
static int look_before(ew_election *e, ew_result **out, const ew_kv **before, ew_error *err) {
    const ew_get_options last = EW_GET_OPTIONS(.limit = 1, .keys_only = true, .sort_by = EW_SORT_CREATE,
                                               .descending = true, .max_create_revision = e->entered - 1);
    ew_txn *t = if_entered(e);
    ew_txn_get(t, EW_THEN, ew_keys_prefix(ew_str(e->prefix)), &last);
    int status = send_txn(e, t, out, err);
    if (status != EW_OK)
        return status;
    *before = NULL;
    if (!ew_result_succeeded(*out))
        leave(e);
    else
        *before = ew_result_at(ew_result_op(*out, 0), 0);
    return EW_OK;
}

/* ---- waiting ---- */

static int64_t left_ms(const ew_election *e) {
    int64_t now_ms = etcd_now_ms();
    return e->deadline_ms == INT64_MAX ? -1 : e->deadline_ms > now_ms ? e->deadline_ms - now_ms : 0;
}

/* Returns why the wait must end, or EW_OK. */
static int reason_to_end(ew_election *e, ew_error *err) {
    int status = interruption_status(&e->interruption);
    if (status == EW_OK && left_ms(e) == 0)
        status = EW_ERR_TIMEOUT;
    return status == EW_OK ? EW_OK : ew_fail(err, status, "election %s", e->prefix);
}

static bool has_deletion(const ew_watch_batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->events[i].kind == EW_EVENT_DELETE)
            return true;
    }
    return false;
}

/* Waits until the key is deleted after `revision`. Also returns EW_OK if the watch was compacted: the caller reads
 * again. */
static int await_deletion(ew_election *e, ew_slice key, int64_t revision, ew_error *err) {
    ew_watch *watch;
    const ew_watch_options options = EW_WATCH_OPTIONS(.start_revision = revision + 1, .no_puts = true);
    int status = ew_watch_open(&watch, e->client, ew_keys_one(key), &options, err);
    if (status != EW_OK)
        return status;
    ew_watch_batch batch = {0};
    interruption_use(&e->interruption, watch);
    while (status == EW_OK && !has_deletion(&batch))
        status = ew_watch_next(watch, left_ms(e), &batch, err);
    interruption_use(&e->interruption, NULL);
    ew_watch_close(watch);
    /* The deletion may be among the compacted events. */
    return status == EW_ERR_COMPACTED ? EW_OK : status;
}

/* Returns whether to try again after this status. CANCELLED: if our interruption caused it, the loop finds the reason;
 * otherwise ew_client_cancel did, which ends the call. */
static bool is_passing(ew_election *e, int status) {
    if (status == EW_ERR_CANCELLED || status == EW_ERR_TIMEOUT)
        return status == EW_ERR_TIMEOUT || interruption_status(&e->interruption) != EW_OK;
    return ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME;
}

static void pause_before_next(ew_election *e, backoff *again, int status) {
    int64_t ms = backoff_next_ms(again), left = left_ms(e);
    log_fields(EW_LOG_DEBUG, &e->client->log, "election", "trying again", {"error", ew_errname(status), 0},
               {"in_ms", NULL, ms});
    interruption_sleep(&e->interruption, left >= 0 && left < ms ? left : ms);
}

/* ---- campaign ---- */

/* Takes the next step towards leadership. EW_OK, with `revision` set if this candidate is the leader now. */
static int advance(ew_election *e, ew_slice value, ew_error *err) {
    if (e->entered == 0)
        return enter(e, value, err);
    ew_result *r = NULL;
    const ew_kv *before = NULL;
    int status = look_before(e, &r, &before, err);
    if (status == EW_OK && before)
        status = await_deletion(e, before->key, ew_result_revision(r), err);
    else if (status == EW_OK && e->entered != 0)
        atomic_store(&e->revision, e->entered);
    ew_result_free(r);
    return status;
}

/* Deletes our key, so that other candidates need not wait for it. Its name contains our lease, so the key is ours even
 * if its creation was never confirmed. If it cannot be deleted, it expires with the lease. */
static void give_up(ew_election *e) {
    ew_error err;
    leave(e);
    if (!e->stood || ew_session_is_done(e->session))
        return;
    int status = ew_client_delete(e->client, own(e), NULL, NULL, &err);
    if (status != EW_OK)
        log_fields(EW_LOG_WARN, &e->client->log, "election",
                   "the candidate's key cannot be deleted; it expires with its lease", {"error", ew_errname(status), 0},
                   {"detail", err.detail, 0});
    e->stood = status != EW_OK;
}

ew_status ew_election_campaign(ew_election *e, ew_slice value, int64_t timeout_ms, ew_error *err) {
    if (ARGUMENT_MISSING(e, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(e->client, err);
    backoff again;
    if (status != EW_OK)
        return status;
    backoff_init(&again, AGAIN_MIN_MS, AGAIN_MAX_MS);
    e->deadline_ms = waiter_deadline_ms(timeout_ms);
    leave(e); /* enter() adopts a key of an earlier campaign */
    while ((status = reason_to_end(e, err)) == EW_OK && e->revision == 0) {
        status = advance(e, value, err);
        if (status == EW_OK) {
            backoff_reset(&again);
        } else if (is_passing(e, status)) {
            pause_before_next(e, &again, status);
        } else {
            break;
        }
    }
    if (status != EW_OK)
        give_up(e);
    return status;
}

/* ---- leading ---- */

static int lost(ew_election *e, ew_error *err) {
    leave(e);
    return ew_fail(err, EW_ERR_LEADERSHIP_LOST, "election %s: the elected key was deleted or replaced", e->prefix);
}

ew_status ew_election_proclaim(ew_election *e, ew_slice value, ew_error *err) {
    if (ARGUMENT_MISSING(e, err))
        return EW_ERR_INVALID;
    bool held;
    if (e->revision == 0)
        return ew_fail(err, EW_ERR_STATE, "election %s: not elected", e->prefix);
    int status = change_key(e, &value, &held, err);
    return status == EW_OK && !held ? lost(e, err) : status;
}

ew_status ew_election_resign(ew_election *e, ew_error *err) {
    if (ARGUMENT_MISSING(e, err))
        return EW_ERR_INVALID;
    bool held;
    int status = e->entered != 0 ? change_key(e, NULL, &held, err) : EW_OK;
    if (status == EW_OK) {
        leave(e);
        e->stood = false;
    }
    return status;
}

static int await_loss_once(ew_election *e, ew_error *err) {
    ew_result *r = NULL;
    const ew_get_options options = EW_GET_OPTIONS(.keys_only = true);
    int status = ew_client_get(e->client, own(e), &options, &r, err);
    if (status != EW_OK)
        return status;
    const ew_kv *kv = ew_result_at(r, 0);
    if (!kv || kv->create_revision != e->entered)
        status = lost(e, err);
    else
        status = await_deletion(e, kv->key, ew_result_revision(r), err);
    ew_result_free(r);
    return status;
}

ew_status ew_election_await_loss(ew_election *e, int64_t timeout_ms, ew_error *err) {
    if (ARGUMENT_MISSING(e, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(e->client, err);
    backoff again;
    if (status != EW_OK)
        return status;
    backoff_init(&again, AGAIN_MIN_MS, AGAIN_MAX_MS);
    if (e->revision == 0)
        return ew_fail(err, EW_ERR_STATE, "election %s: not elected", e->prefix);
    e->deadline_ms = waiter_deadline_ms(timeout_ms);
    while ((status = reason_to_end(e, err)) == EW_OK) {
        status = await_loss_once(e, err);
        if (status != EW_OK && !is_passing(e, status))
            break;
        if (status != EW_OK)
            pause_before_next(e, &again, status);
    }
    return status;
}
