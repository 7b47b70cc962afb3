/* The worker: loads in pages, watches, ticks, commits, conflicts, accepts submits, finishes; alone, in a session and as
 * an elected leader, with a consistency check, and over a connection that breaks. */
#include "alloc/scenario.h"
#include "lib/fault_proxy.h"
#include "lib/process.h"

#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <time.h>

enum {
    TICKS = 8,
    TROUBLED_TICKS = 60,
    SEND_MS = 200,
    REPLY_MS = 2000,
    GIVE_UP_MS = 40000,
    BEAT_MS = 2,
    SUBMIT_EVERY = 8
};

#define TOTAL     "/work/total"
#define CONTENDED "/work/contended"
#define SUBMITTED "/work/submitted"

/* Groups of one kind, as their callbacks or replies reported them. */
typedef struct account {
    unsigned asked, committed, unknown, not_written;
} account;

typedef struct worker_state {
    ew_worker *worker;
    unsigned ticks_left;
    account made, submitted;
    int64_t total; /* from the events; -1: none yet */
    atomic_bool over;
    int status;
    ew_error err;
} worker_state;

static void settle(account *a, int status) {
    if (status == EW_OK)
        a->committed++;
    else if (status == EW_ERR_UNKNOWN_OUTCOME)
        a->unknown++;
    else
        a->not_written++;
}

/* ---- the reactor ---- */

static int one_more(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t n = 0;
    if (current && !ew_slice_int(current->value, &n))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, n + 1);
}

static int cache_contended(void *arg, ew_view *view) {
    (void)arg;
    ew_entry e;
    int status = ew_view_get(view, EW_STR(CONTENDED), &e);
    if (status == EW_OK)
        status = ew_view_put(view, EW_STR("/work/copy"), e.value);
    else if (status == EW_ERR_NOT_FOUND)
        status = ew_view_delete(view, EW_STR("/work/copy"));
    return status;
}

static void done(void *arg, ew_status status, int64_t revision) {
    worker_state *c = arg;
    (void)revision;
    settle(&c->made, status);
}

/* Makes a group that expects what the tick has read, none of which changes. */
static void stand_on_reads(ew_tick *t) {
    ew_entry e = {0};
    ew_tick_get(t, EW_STR("/work/none"), NULL);
    ew_tick_scan(t, EW_STR("/work/none/"), &e);
    ew_tick_get(t, EW_STR("/work/page/0"), NULL);
    ew_group *g = ew_tick_group(t);
    ew_group_expect(g, EW_STR("/work/page/0"));
    ew_group_expect_reads(g);
    ew_group_put(g, EW_STR("/work/claim"), EW_STR("1"));
}

static int tick(void *self, ew_tick *t) {
    worker_state *c = self;
    stand_on_reads(t);
    ew_group *counts = ew_tick_group(t), *contends = ew_tick_group(t);
    ew_group_modify(counts, EW_STR(TOTAL), one_more, NULL, NULL);
    ew_group_put_lease(counts, EW_STR("/work/mine"), EW_STR("1"), EW_LEASE_SESSION);
    ew_group_name(counts, "counts");
    if (ew_group_on_done(counts, done, c) == EW_OK) /* otherwise the group is not sent */
        c->made.asked++;
    ew_group_modify(contends, EW_STR(CONTENDED), one_more, NULL, NULL);
    ew_group_patch(contends, cache_contended, NULL, NULL);
    ew_group_delete(contends, EW_STR("/work/mine"));
    ew_group_guard(contends, EW_STR("/work/page/0"));
    return --c->ticks_left == 0 ? EW_FINISHED : EW_OK;
}

static int update(void *self, const ew_event *event) {
    worker_state *c = self;
    int64_t n;
    if (!ew_slice_equal(event->entry.key, EW_STR(TOTAL)) || event->kind != EW_EVENT_PUT)
        return EW_OK;
    if (!ew_slice_int(event->entry.value, &n))
        return EW_ERR_REACTOR;
    if (!event->initial && c->total >= 0 && n != c->total + 1)
        alloc_problem("an event gives %lld after %lld", (long long)n, (long long)c->total);
    c->total = n;
    return EW_OK;
}

static int reset(void *self) {
    worker_state *c = self;
    c->total = -1;
    return EW_OK;
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick, .update = update, .reset = reset, .track_reads = true);

/* ---- submits ---- */

static int pack(void **body, size_t *size) {
    ew_submit *s = ew_submit_new();
    ew_submit_put(s, EW_STR(SUBMITTED), EW_STR("1"));
    ew_submit_if_absent(s, EW_STR("/work/none"));
    ew_submit_delete(s, EW_STR("/work/none"));
    int status = ew_submit_pack(s, body, size);
    ew_submit_free(s);
    return status;
}

static int unpack(nng_msg *m, ew_submit_reply *reply) {
    return ew_submit_reply_unpack(nng_msg_body(m), nng_msg_len(m), reply);
}

static bool submit_body(nng_socket req, const void *body, size_t size) {
    nng_msg *m;
    if (nng_msg_alloc(&m, size) != 0)
        process_die("cannot allocate a message");
    memcpy(nng_msg_body(m), body, size);
    bool sent = nng_sendmsg(req, m, 0) == 0;
    if (!sent)
        nng_msg_free(m);
    return sent;
}

/* Submits a group. Without a reply its outcome is unknown. */
static void submit(worker_state *c) {
    void *body = NULL;
    size_t size = 0;
    nng_socket req;
    nng_msg *m = NULL;
    ew_submit_reply reply = {.size = sizeof reply, .status = EW_ERR_UNKNOWN_OUTCOME};
    TRY(pack(&body, &size));
    if (!body)
        return;
    if (nng_req0_open(&req) != 0)
        process_die("cannot open a socket");
    nng_socket_set_ms(req, NNG_OPT_SENDTIMEO, SEND_MS); /* the worker may have ended */
    c->submitted.asked++;
    if (nng_dial(req, ew_worker_submit_url(c->worker), NULL, 0) == 0 && submit_body(req, body, size)) {
        for (int i = 0; i < REPLY_MS && !c->over && !m; i++)
            if (nng_recvmsg(req, &m, NNG_FLAG_NONBLOCK) != 0)
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (m)
        TRY(unpack(m, &reply));
    settle(&c->submitted, reply.status);
    nng_msg_free(m);
    nng_close(req);
    free(body);
}

/* ---- one run of a worker ---- */

static void *join(void *arg) {
    worker_state *c = arg;
    c->status = ew_worker_join(c->worker, &c->err);
    c->over = true;
    return NULL;
}

/* More than etcd sends in one response: the watch gets fragments. */
static void put_fragments(void) {
    static char large[700000];
    failing_spare(true);
    for (int i = 0; i < 4; i++)
        client_put_slice(EW_STR("/work/page/3"), (ew_slice){large, sizeof large}, 0);
    client_put("/work/page/3", "changed");
    failing_spare(false);
}

/* Breaks the connection while answers and events are on their way, so that outcomes must be resolved; then compacts the
 * history while the worker is cut off; then writes many changes. */
static void trouble(fault_proxy *proxy, unsigned beat) {
    enum { EVERY = 16, TEARS = 4, CUT = TEARS, CUT_AGAIN = CUT + 6, END = CUT_AGAIN + 1 };
    unsigned step = beat / EVERY;
    if (beat % EVERY != 1 || step > END)
        return;
    if (step < TEARS) {
        fault_proxy_tear(proxy, step % 2 == 0 ? FAULT_PROXY_DOWN : FAULT_PROXY_UP);
    } else if (step == CUT) {
        fault_proxy_cut(proxy);
        WITHOUT_FAILURE(client_put("/work/page/1", "changed"));
        client_compact(WITHOUT_FAILURE(client_put("/work/page/2", "changed")));
    } else if (step == CUT_AGAIN) {
        fault_proxy_cut(proxy);
        put_fragments();
    } else {
        fault_proxy_mend(proxy);
    }
}

/* Changes, as an external writer, what the worker writes. */
static void disturb(worker_state *c, bool submits, fault_proxy *proxy) {
    struct timespec beat = {.tv_nsec = BEAT_MS * 1000000L};
    for (unsigned n = 0; !c->over; n++) {
        if (proxy)
            trouble(proxy, n);
        if (n % 3 == 0)
            WITHOUT_FAILURE(client_put(CONTENDED, "5"));
        if (submits && n % SUBMIT_EVERY == 1)
            submit(c);
        if (n == GIVE_UP_MS / BEAT_MS)
            alloc_problem("a worker neither finished nor failed");
        if (n >= GIVE_UP_MS / BEAT_MS)
            ew_worker_stop(c->worker);
        nanosleep(&beat, NULL);
    }
}

typedef struct bonds {
    ew_client *client;
    ew_session *session;
    ew_election *election;
} bonds;

static int start(worker_state *c, const bonds *b, ew_options *o) {
    int status = ew_worker_open(&c->worker, o, &reactor, c, &c->err);
    if (status == EW_OK && b->client)
        status = ew_worker_set_client(c->worker, b->client);
    if (status == EW_OK && b->session)
        status = ew_worker_set_session(c->worker, b->session);
    if (status == EW_OK && b->election)
        status = ew_worker_set_election(c->worker, b->election);
    if (status == EW_OK)
        status = ew_worker_start(c->worker, &c->err);
    if (status != EW_OK) {
        ew_worker_close(c->worker);
        c->worker = NULL;
    }
    return status;
}

ew_options *alloc_options_worker(bool submits) {
    static unsigned names;
    char name[32];
    ew_options *o = alloc_options();
    snprintf(name, sizeof name, "w%u", names++);
    TRY(ew_options_set(o, "name", name, &err));
    TRY(ew_options_set(o, "prefix", "/work", &err));
    TRY(ew_options_set(o, "page_bytes", "65536", &err));
    TRY(ew_options_set(o, "tick_interval_ms", "10", &err));
    TRY(ew_options_set(o, "submit", submits ? "on" : "off", &err));
    TRY(ew_options_set(o, "publish_ticks", "on", &err));
    /* longer than a run, so that a lost end shows as a hang */
    TRY(ew_options_set(o, "stop_timeout_ms", "60000", &err));
    return o;
}

static void check_account(const account *a, int64_t written, const char *what) {
    if (a->committed + a->unknown + a->not_written != a->asked)
        alloc_problem("of %u %s, %u were reported", a->asked, what, a->committed + a->unknown + a->not_written);
    if (written < a->committed || written > (int64_t)a->committed + a->unknown)
        alloc_problem("%lld %s were written, %u reported as committed, %u as unknown", (long long)written, what,
                      a->committed, a->unknown);
}

static int64_t number_at(const char *key) {
    int64_t n = 0;
    client_kv kv = WITHOUT_FAILURE(client_get(key));
    return kv.present && ew_slice_int(ew_str(kv.value), &n) ? n : 0;
}

/* Runs a worker to its end, which is success or an error. */
static int live(const bonds *b, ew_options *o, unsigned ticks, bool submits, fault_proxy *proxy) {
    worker_state c = {.ticks_left = ticks, .total = -1};
    pthread_t joiner;
    int64_t total = number_at(TOTAL), version = WITHOUT_FAILURE(client_get(SUBMITTED)).version;
    WITHOUT_FAILURE(client_delete(CONTENDED));
    int status = alloc_failed(start(&c, b, o), "start", &c.err);
    if (status != EW_OK)
        return status;
    if (pthread_create(&joiner, NULL, join, &c) != 0)
        process_die("cannot create a thread");
    disturb(&c, submits, proxy);
    pthread_join(joiner, NULL);
    ew_worker_close(c.worker);
    check_account(&c.made, number_at(TOTAL) - total, "groups");
    check_account(&c.submitted, WITHOUT_FAILURE(client_get(SUBMITTED)).version - version, "submits");
    return alloc_failed(c.status, "run", &c.err);
}

/* Sets options that add to each transaction, and ticks for each revision. The id is new, since an earlier receipt may
 * still exist. */
static void set_much(ew_options *o) {
    static const char *const much[][2] = {{"fence_session", "on"}, {"isolation", "serializable"}, {"coalesce", "off"}};
    for (size_t i = 0; i < sizeof much / sizeof much[0]; i++)
        TRY(ew_options_set(o, much[i][0], much[i][1], &err));
    TRY(ew_options_set(o, "worker_id", ew_options_text(o, "name"), &err));
}

/* Runs a worker, and another one if it failed; over a connection that breaks if `troubled`. */
static void live_well(const bonds *b, unsigned ticks, bool submits, bool troubled) {
    for (int i = 0; i < 2; i++) {
        ew_options *o = alloc_options_worker(submits);
        fault_proxy *proxy = troubled ? fault_proxy_open(alloc_address()) : NULL;
        if (troubled) {
            TRY(ew_options_set(o, "endpoints", fault_proxy_endpoint(proxy), &err));
            TRY(ew_options_set(o, "backoff_min_ms", "5", &err));
        }
        if (b->session)
            set_much(o);
        int status = live(b, o, ticks, submits, proxy);
        ew_options_free(o);
        fault_proxy_close(proxy);
        if (status == EW_OK)
            return;
        if (i > 0)
            alloc_problem("a worker failed twice: %s", ew_errname(status));
    }
}

void alloc_run_worker(void) {
    live_well(&(bonds){0}, TICKS, true, false);
}

void alloc_run_leader(void) {
    bonds b = {.client = alloc_client(alloc_options())};
    TRY(ew_session_open(&b.session, b.client, 10, &err));
    TRY(ew_election_open(&b.election, b.client, b.session, EW_STR("/elect"), &err));
    TRY(ew_election_campaign(b.election, EW_STR("me"), 10000, &err));
    live_well(&b, TICKS / 2, false, false);
    TRY(ew_election_resign(b.election, &err));
    ew_election_close(b.election);
    ew_session_close(b.session, EW_SESSION_REVOKE);
    ew_client_close(b.client);
}

void alloc_run_trouble(void) {
    live_well(&(bonds){0}, TROUBLED_TICKS, false, true);
}
