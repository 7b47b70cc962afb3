/* The client: every kind of call, watches, sessions, elections, TLS and users. */
#include "alloc/scenario.h"

#include <inttypes.h>

enum { KEYS = ALLOC_SCAN_KEYS, WAIT_MS = 20000 };

ew_client *alloc_client(ew_options *o) {
    ew_client *c = NULL;
    TRY(ew_client_open(&c, o, &err));
    ew_options_free(o);
    return c;
}

/* ---- calls ---- */

/* Makes a write, whose result must agree with etcd. */
#define WRITE(key, call)                                                                                               \
    do {                                                                                                               \
        int64_t before_ = WITHOUT_FAILURE(client_get(key)).mod_revision;                                               \
        int status_ = alloc_failed((call), #call, &err);                                                               \
        bool done_ = WITHOUT_FAILURE(client_get(key)).mod_revision != before_;                                         \
        if (status_ == EW_OK ? !done_ : done_ && status_ != EW_ERR_UNKNOWN_OUTCOME)                                    \
            alloc_problem("%s: returned %s, but it was %s", #call, ew_errname(status_), done_ ? "done" : "not done");  \
        if (status_ != EW_OK && (call) != EW_OK)                                                                       \
            alloc_problem("%s failed twice: %s", #call, err.detail);                                                   \
    } while (0)

static void read_and_write(ew_client *c) {
    ew_result *r = NULL;
    WRITE("/client/a", ew_client_put(c, EW_STR("/client/a"), EW_STR("1"), NULL, NULL, &err));
    WRITE("/client/a", ew_client_put(c, EW_STR("/client/a"), EW_STR("2"), &EW_PUT_OPTIONS(.previous = true), &r, &err));
    if (!r || ew_result_count(r) != 1)
        alloc_problem("a put returned no previous value");
    ew_result_free(r);
    r = NULL;
    TRY(ew_client_get(c, ew_keys_one(EW_STR("/client/a")), NULL, &r, &err));
    if (!r || ew_result_count(r) != 1 || !ew_slice_equal(ew_result_at(r, 0)->value, EW_STR("2")))
        alloc_problem("a get did not return the put");
    ew_result_free(r);
    r = NULL;
    TRY(ew_client_get(c, ew_keys_prefix(EW_STR("/scan/")), &EW_GET_OPTIONS(.sort_by = EW_SORT_MOD), &r, &err));
    if (!r || ew_result_count(r) != KEYS)
        alloc_problem("a get of %d keys returned %zu", KEYS, r ? ew_result_count(r) : 0);
    ew_result_free(r);
}

/* Builds the whole transaction again after a failure, since the builder keeps its first error. */
static int transact(ew_client *c, ew_result **out) {
    ew_txn *inner = ew_txn_new(), *t = ew_txn_new();
    ew_txn_if(inner, ew_keys_one(EW_STR("/client/none")), EW_VERSION_OF, EW_EQUAL, 0);
    ew_txn_put(inner, EW_THEN, EW_STR("/client/b"), EW_STR("inner"), NULL);
    ew_txn_if_value(t, ew_keys_one(EW_STR("/client/a")), EW_EQUAL, EW_STR("2"));
    ew_txn_get(t, EW_THEN, ew_keys_prefix(EW_STR("/client/")), NULL);
    ew_txn_put(t, EW_THEN, EW_STR("/client/t"), EW_STR("outer"), NULL);
    ew_txn_nest(t, EW_THEN, inner);
    ew_txn_delete(t, EW_ELSE, ew_keys_one(EW_STR("/client/a")), &EW_DELETE_OPTIONS(.previous = true));
    int status = ew_client_txn(c, t, out, &err);
    ew_txn_free(inner);
    ew_txn_free(t);
    return status;
}

static void transactions(ew_client *c) {
    ew_result *r = NULL;
    WRITE("/client/t", transact(c, &r));
    if (!r || !ew_result_succeeded(r) || !ew_result_op(r, 1) || !ew_result_op(r, 2))
        alloc_problem("a transaction returned no result");
    ew_result_free(r);
    WRITE("/client/a",
          ew_client_delete(c, ew_keys_one(EW_STR("/client/a")), &EW_DELETE_OPTIONS(.previous = true), NULL, &err));
}

/* Scans every key once, in order, although the scan may be interrupted. */
static void scan(ew_client *c) {
    ew_scan *s = NULL;
    ew_kv kv;
    char key[16];
    int n = 0;
    TRY(ew_scan_open(&s, c, ew_keys_prefix(EW_STR("/scan/")), &EW_SCAN_OPTIONS(.page_bytes = 300), &err));
    for (;;) {
        int status = ew_scan_next(s, &kv, &err);
        if (status < 0) {
            alloc_failed(status, "ew_scan_next", &err);
            status = ew_scan_next(s, &kv, &err);
        }
        if (status == EW_END)
            break;
        snprintf(key, sizeof key, "/scan/%02d", n++);
        if (status != EW_OK || !ew_slice_equal(kv.key, ew_str(key))) {
            alloc_problem("a scan stopped before %s: %s", key, err.detail);
            break;
        }
    }
    if (n != KEYS)
        alloc_problem("a scan ended after %d keys", n);
    ew_scan_close(s);
}

static void lease(ew_client *c) {
    int64_t lease = 0, granted = 0;
    ew_result *keys = NULL;
    TRY((lease = 0, ew_client_lease_grant(c, 100, &lease, &granted, &err)));
    WRITE("/client/l", ew_client_put(c, EW_STR("/client/l"), EW_STR("1"), &EW_PUT_OPTIONS(.lease = lease), NULL, &err));
    TRY(ew_client_lease_keepalive(c, lease, &granted, &err));
    TRY(ew_client_lease_info(c, lease, NULL, &granted, &keys, &err));
    if (!keys || ew_result_count(keys) != 1)
        alloc_problem("a lease does not have its key");
    ew_result_free(keys);
    if (alloc_failed(ew_client_lease_revoke(c, lease, &err), "ew_client_lease_revoke", &err) != EW_OK) {
        int again = ew_client_lease_revoke(c, lease, &err);
        if (again != EW_OK && again != EW_ERR_NOT_FOUND)
            alloc_problem("cannot revoke a lease: %s", err.detail);
    }
}

static int compact(ew_client *c, int64_t revision) {
    int status = ew_client_compact(c, revision, NULL, &err);
    return status == EW_ERR_COMPACTED ? EW_OK : status; /* the first call has compacted */
}

static void cluster(ew_client *c) {
    ew_member_status status = {.size = sizeof status};
    ew_members *members = NULL;
    TRY(ew_client_status(c, &status, &err));
    TRY(ew_client_members(c, &members, &err));
    if (!members || !ew_members_at(members, 0))
        alloc_problem("the cluster has no members");
    ew_members_free(members);
    int64_t revision = WITHOUT_FAILURE(client_revision());
    TRY(compact(c, revision - 5));
}

/* Receives each change once, in order, although the watch may have to be opened again. */
static void watch(ew_client *c) {
    enum { CHANGES = 5 };
    char value[16];
    ew_watch *w = NULL;
    int64_t start = WITHOUT_FAILURE(client_revision()) + 1;
    TRY(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/watch/")),
                      &EW_WATCH_OPTIONS(.start_revision = start, .previous = true), &err));
    for (int seen = 0, given = 0; seen < CHANGES && w;) {
        ew_watch_batch batch = {0};
        if (given == seen) {
            snprintf(value, sizeof value, "%d", given++);
            WITHOUT_FAILURE(client_put("/watch/a", value));
        }
        int status = ew_watch_next(w, WAIT_MS, &batch, &err);
        if (status != EW_OK) {
            if (alloc_failed(status, "ew_watch_next", &err) != EW_ERR_NO_MEMORY)
                alloc_problem("a watch ended with %s: %s", ew_errname(status), err.detail);
            ew_watch_close(w);
            TRY(ew_watch_open(&w, c, ew_keys_prefix(EW_STR("/watch/")), &EW_WATCH_OPTIONS(.start_revision = start),
                              &err));
            continue;
        }
        for (size_t i = 0; i < batch.count; i++) {
            snprintf(value, sizeof value, "%d", seen++);
            if (!ew_slice_equal(batch.events[i].kv.value, ew_str(value)))
                alloc_problem("a watch did not return change %s in order", value);
        }
        start = batch.revision + 1;
    }
    ew_watch_close(w);
}

static void run_client(void) {
    ew_client *c = alloc_client(alloc_options());
    if (!c)
        return;
    read_and_write(c);
    transactions(c);
    scan(c);
    lease(c);
    cluster(c);
    watch(c);
    ew_client_close(c);
}

/* ---- sessions and elections ---- */

static void ignore(void *arg) {
    (void)arg;
}

static void observe(ew_client *c, const char *leader) {
    ew_observer *o = NULL;
    ew_kv kv = {0};
    TRY(ew_observer_open(&o, c, EW_STR("/elect"), &err));
    TRY(ew_observer_next(o, WAIT_MS, &kv, &err));
    if (!ew_slice_equal(kv.value, ew_str(leader)))
        alloc_problem("an observer saw another leader");
    ew_observer_close(o);
}

static void elect(ew_client *c, ew_session *session) {
    ew_election *e = NULL;
    ew_result *r = NULL;
    TRY(ew_election_open(&e, c, session, EW_STR("/elect"), &err));
    TRY(ew_election_campaign(e, EW_STR("me"), WAIT_MS, &err));
    TRY(ew_election_proclaim(e, EW_STR("still me"), &err));
    TRY(ew_election_leader(c, EW_STR("/elect"), &r, &err));
    ew_result_free(r);
    observe(c, "still me");
    int status = ew_election_await_loss(e, 20, &err);
    if (status != EW_ERR_TIMEOUT && alloc_failed(status, "ew_election_await_loss", &err) != EW_ERR_NO_MEMORY)
        alloc_problem("the leadership was lost: %s: %s", ew_errname(status), err.detail);
    TRY(ew_election_resign(e, &err));
    ew_election_close(e);
    if (WITHOUT_FAILURE(client_count("/elect/")) != 0)
        alloc_problem("a candidate that resigned is still the leader");
}

static void run_session(void) {
    ew_client *c = alloc_client(alloc_options());
    ew_session *s = NULL;
    if (!c)
        return;
    TRY(ew_session_open(&s, c, 10, &err));
    TRY(ew_session_on_done(s, ignore, NULL));
    elect(c, s);
    if (ew_session_is_done(s))
        alloc_problem("the session has ended");
    ew_session_forget(s, ignore, NULL);
    ew_session_close(s, EW_SESSION_REVOKE);
    ew_client_close(c);
}

/* ---- TLS, users, several endpoints ---- */

static void run_reloaded(ew_options *o) {
    ew_client *c = alloc_client(o);
    ew_result *r = NULL;
    if (!c)
        return;
    TRY(ew_client_put(c, EW_STR("/a"), EW_STR("1"), NULL, NULL, &err));
    TRY(ew_client_reload(c, &err));
    TRY(ew_client_get(c, ew_keys_one(EW_STR("/a")), NULL, &r, &err));
    ew_result_free(r);
    ew_client_close(c);
}

static void run_tls(void) {
    run_reloaded(alloc_options_tls());
}

/* The user may not write, so the call must return that error whatever allocation fails. */
static void write_denied(void) {
    ew_client *c = alloc_client(alloc_options_guest());
    int status = EW_OK;
    for (int i = 0; i < 2 && c && status != EW_ERR_DENIED; i++) {
        status = ew_client_put(c, EW_STR("/a"), EW_STR("guest"), NULL, NULL, &err);
        if (status != EW_ERR_DENIED)
            alloc_failed(status, "a guest's put", &err);
    }
    if (status != EW_ERR_DENIED)
        alloc_problem("a user without permissions wrote: %s", ew_errname(status));
    ew_client_close(c);
}

static void run_user(void) {
    run_reloaded(alloc_options_user());
    write_denied();
}

/* Opens the watch and receives one change. */
static int watch_once(ew_client *c, int64_t start) {
    ew_watch *w = NULL;
    ew_watch_batch batch = {0};
    int status = ew_watch_open(&w, c, ew_keys_one(EW_STR("/a")), &EW_WATCH_OPTIONS(.start_revision = start), &err);
    if (status == EW_OK)
        status = ew_watch_next(w, WAIT_MS, &batch, &err);
    ew_watch_close(w);
    return status;
}

static void run_tokens(void) {
    ew_client *c = alloc_client(alloc_options_user());
    ew_session *s = NULL;
    ew_result *r = NULL;
    if (!c)
        return;
    TRY(ew_client_put(c, EW_STR("/a"), EW_STR("2"), NULL, &r, &err));
    int64_t revision = ew_result_revision(r);
    ew_result_free(r);
    alloc_forget_tokens();
    TRY(watch_once(c, revision));
    alloc_forget_tokens();
    TRY(ew_session_open(&s, c, 10, &err));
    alloc_forget_tokens();
    TRY(ew_client_put(c, EW_STR("/a"), EW_STR("3"), NULL, NULL, &err));
    ew_session_close(s, EW_SESSION_REVOKE);
    ew_client_close(c);
}

/* A name, an address and a socket path, of which only the first two are reachable. */
static void run_names(void) {
    char list[256];
    ew_options *o = alloc_options();
    snprintf(list, sizeof list, "localhost%s,%s,unix:/nowhere", strrchr(alloc_address(), ':'), alloc_address());
    TRY(ew_options_set(o, "endpoints", list, &err));
    run_reloaded(o);
}

const alloc_scenario alloc_scenarios[] = {
    {.name = "client", .run = run_client},
    {.name = "session", .run = run_session},
    {.name = "tls", .run = run_tls},
    {.name = "user", .run = run_user},
    {.name = "tokens", .run = run_tokens, .much_alike = true},
    {.name = "names", .run = run_names},
    {.name = "worker", .run = alloc_run_worker},
    {.name = "leader", .run = alloc_run_leader, .much_alike = true},
    {.name = "check", .run = alloc_run_check, .slow = true},
    {.name = "pages", .run = alloc_run_pages, .slow = true},
    {.name = "actors", .run = alloc_run_actors, .much_alike = true},
    {.name = "outbox", .run = alloc_run_outbox},
    {.name = "trouble", .run = alloc_run_trouble, .slow = true},
    {.name = "config", .run = alloc_run_config},
    {.name = "plan", .run = alloc_run_plan, .only = "service/"},
    {.name = "service", .run = alloc_run_service, .only = "service/"},
    {.name = "program", .run = alloc_run_program, .only = "service/main.c"},
    {.name = "demo", .run = alloc_run_demo, .much_alike = true},
    {.name = "dev", .run = alloc_run_dev, .only = "service/", .seldom = true},
    {.name = NULL},
};
