/* An observer of an election: reads the leader, and watches the keys that can change it: the leader's key, or all keys
 * while there is no leader. */
#include "etcd/election.h"
#include "etcd/waiter.h"

#include "core/argument.h"

#include <stdlib.h>

struct ew_observer {
    ew_client *client;
    char *prefix;
    ew_result *leader;                     /* as last read; without a key if there was no leader; NULL: must be read */
    ew_watch *watch;                       /* for changes after that read; NULL: must be opened */
    bool reported;                         /* a leader, or its absence, was reported */
    int64_t reported_create, reported_mod; /* the revisions of the leader that was reported last; 0: no leader */
    interruption interruption;
};

static int read_leader(ew_client *client, const char *prefix, ew_result **out, ew_error *err) {
    const ew_get_options first = EW_GET_OPTIONS(.limit = 1, .sort_by = EW_SORT_CREATE);
    return ew_client_get(client, ew_keys_prefix(ew_str(prefix)), &first, out, err);
}

ew_status ew_election_leader(ew_client *client, ew_slice name, ew_result **out, ew_error *err) {
    if (ARGUMENT_MISSING(client, err) || ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    int status = election_check_name(name, err);
    if (status != EW_OK)
        return status;
    char *prefix = election_prefix(name);
    if (!prefix)
        return ew_fail(err, EW_ERR_NO_MEMORY, "election");
    status = read_leader(client, prefix, out, err);
    if (status == EW_OK && ew_result_count(*out) == 0) {
        ew_result_free(*out);
        *out = NULL;
        status = ew_fail(err, EW_ERR_NOT_FOUND, "election %s: no leader", prefix);
    }
    free(prefix);
    return status;
}

ew_status ew_observer_open(ew_observer **out, ew_client *client, ew_slice name, ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(client, err))
        return EW_ERR_INVALID;
    int status = etcd_check_process(client, err);
    if (status == EW_OK)
        status = election_check_name(name, err);
    if (status != EW_OK)
        return status;
    ew_observer *o = calloc(1, sizeof *o);
    if (!o || !(o->prefix = election_prefix(name))) {
        free(o);
        return ew_fail(err, EW_ERR_NO_MEMORY, "observer");
    }
    o->client = client;
    status = interruption_init(&o->interruption);
    if (status != EW_OK) {
        free(o->prefix);
        free(o);
        return ew_fail(err, status, "observer");
    }
    *out = o;
    return EW_OK;
}

/* Drops the leader that was read, and the watch, so that both are made again. */
static void forget(ew_observer *o) {
    interruption_use(&o->interruption, NULL);
    ew_watch_close(o->watch);
    o->watch = NULL;
    ew_result_free(o->leader);
    o->leader = NULL;
}

void ew_observer_close(ew_observer *o) {
    if (!o || etcd_check_process(o->client, NULL) != EW_OK)
        return;
    forget(o);
    interruption_fini(&o->interruption);
    free(o->prefix);
    free(o);
}

void ew_observer_cancel(ew_observer *o) {
    if (!o || etcd_check_process(o->client, NULL) != EW_OK)
        return;
    interruption_cancel(&o->interruption);
}

/* Returns whether this differs from the last report, and notes it as reported. */
static bool is_news(ew_observer *o, const ew_kv *kv) {
    int64_t create = kv ? kv->create_revision : 0, mod = kv ? kv->mod_revision : 0;
    bool same = o->reported && o->reported_create == create && o->reported_mod == mod;
    o->reported = true;
    o->reported_create = create;
    o->reported_mod = mod;
    return !same;
}

static int open_watch(ew_observer *o, ew_error *err) {
    const ew_kv *kv = ew_result_at(o->leader, 0);
    const ew_watch_options options = EW_WATCH_OPTIONS(.start_revision = ew_result_revision(o->leader) + 1);
    ew_keys keys = kv ? ew_keys_one(kv->key) : ew_keys_prefix(ew_str(o->prefix));
    int status = ew_watch_open(&o->watch, o->client, keys, &options, err);
    if (status == EW_OK)
        interruption_use(&o->interruption, o->watch);
    return status;
}

/* Handles a batch of the watch. True: `*leader` is a new value of the leader's key. Otherwise the leader may have
 * changed and must be read again. */
static bool take_batch(ew_observer *o, const ew_watch_batch *batch, ew_kv *leader) {
    bool led = ew_result_count(o->leader) > 0;
    const ew_watch_event *last = NULL;
    for (size_t i = 0; i < batch->count; i++) {
        last = &batch->events[i];
        if (!led || last->kind == EW_EVENT_DELETE) {
            forget(o);
            return false;
        }
    }
    if (!last)
        return false;
    *leader = last->kv;
    return is_news(o, leader);
}

/* Takes one step. EW_OK, with `*news` set if `*leader` must be reported. */
static int next_step(ew_observer *o, int64_t timeout_ms, ew_kv *leader, bool *news, ew_error *err) {
    if (!o->leader) {
        int status = read_leader(o->client, o->prefix, &o->leader, err);
        const ew_kv *kv = status == EW_OK ? ew_result_at(o->leader, 0) : NULL;
        if (status == EW_OK && is_news(o, kv)) {
            *news = true;
            *leader = kv ? *kv : (ew_kv){0};
        }
        return status;
    }
    if (!o->watch)
        return open_watch(o, err);
    ew_watch_batch batch;
    int status = ew_watch_next(o->watch, timeout_ms, &batch, err);
    if (status == EW_OK) {
        *news = take_batch(o, &batch, leader);
    } else if (status != EW_ERR_TIMEOUT && status != EW_ERR_CANCELLED) {
        forget(o); /* the watch ended: read the leader again */
        status = status == EW_ERR_COMPACTED ? EW_OK : status;
    }
    return status;
}

ew_status ew_observer_next(ew_observer *o, int64_t timeout_ms, ew_kv *leader, ew_error *err) {
    if (ARGUMENT_MISSING(o, err) || ARGUMENT_MISSING(leader, err))
        return EW_ERR_INVALID;
    bool news = false;
    int64_t end_ms = waiter_deadline_ms(timeout_ms);
    *leader = (ew_kv){0};
    int status = etcd_check_process(o->client, err);
    if (status != EW_OK)
        return status;
    while (!news) {
        status = interruption_status(&o->interruption);
        if (status != EW_OK)
            return ew_fail(err, status, "observer");
        int64_t now_ms = etcd_now_ms();
        status = next_step(o, end_ms == INT64_MAX ? -1 : end_ms > now_ms ? end_ms - now_ms : 0, leader, &news, err);
        if (status != EW_OK)
            return status;
    }
    return EW_OK;
}
