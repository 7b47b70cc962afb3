/* An nng application that embeds a worker, submits patch groups to it over a REQ socket, and subscribes to its ticks.
 *
 *     nng_app [ENDPOINTS]               worker and orders in one process, over inproc://
 *     nng_app serve DIR [ENDPOINTS]     only the worker, until SIGINT or SIGTERM; it listens in the directory DIR
 *     nng_app order DIR                 only the orders, from another process, over ipc://DIR/...
 *
 * The application's sockets are its own; the worker only listens at its URLs. Every program that may open the socket
 * files in DIR (mode 0660) may order. Programs on other hosts use tls+tcp:// with a client certificate. */
#include <etcdworker/etcdworker.h>

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDERS = 5, TIMEOUT_MS = 10000, TRIES = 1000 };

/* The reactor: replaces each order by a bill, exactly once. */
static int bill(void *self, ew_tick *t) {
    (void)self;
    ew_entry e = {0};
    while (ew_tick_scan(t, EW_STR("/shop/orders/"), &e)) {
        char bill_key[128];
        snprintf(bill_key, sizeof bill_key, "/shop/bills/%.*s", (int)(e.key.len - strlen("/shop/orders/")),
                 (const char *)e.key.data + strlen("/shop/orders/"));
        ew_group *g = ew_tick_group(t);
        ew_group_put(g, ew_str(bill_key), e.value);
        ew_group_delete(g, e.key);
    }
    return EW_OK;
}

/* Sends the request and waits for its reply. The socket sends it again by itself, after a while and when its connection
 * breaks. That is the same submit, and it is applied once. */
static ew_status request(nng_socket req, const void *body, size_t size, ew_submit_reply *reply) {
    nng_msg *answer;
    int rv = nng_send(req, (void *)(uintptr_t)body, size, 0);
    if (rv != 0 || (rv = nng_recvmsg(req, &answer, 0)) != 0) {
        fprintf(stderr, "nng_app: %s\n", nng_strerror(rv));
        return EW_ERR_SYSTEM;
    }
    ew_status status = ew_submit_reply_unpack(nng_msg_body(answer), nng_msg_len(answer), reply);
    nng_msg_free(answer);
    return status;
}

/* Returns whether the submit is decided: committed, or refused permanently. Otherwise send the same submit again. */
static bool is_decided(ew_status status) {
    return status != EW_ERR_UNAVAILABLE && status != EW_ERR_BUSY && status != EW_ERR_NO_MEMORY &&
           status != EW_ERR_UNKNOWN_OUTCOME;
}

/* Puts an order, and waits until it is in etcd. If this program ends before that, the order may or may not be in etcd.
 * A program that must know stores an identity of its own on disk (ew_submit_identity). */
static ew_status order(nng_socket req, int number, ew_submit_reply *reply) {
    char key[64], value[64];
    snprintf(key, sizeof key, "/shop/orders/%d", number);
    snprintf(value, sizeof value, "%d apples", number);
    ew_submit *s = ew_submit_new();
    ew_submit_put(s, ew_str(key), ew_str(value));
    ew_submit_if_absent(s, ew_str(key));
    void *body;
    size_t size;
    ew_status status = ew_submit_pack(s, &body, &size);
    ew_submit_free(s);
    for (int tries = 0; status == EW_OK && tries < TRIES; tries++) {
        status = request(req, body, size, reply);
        if (status == EW_OK && is_decided(reply->status))
            break;
        nng_msleep(10); /* for example, the worker has not reached etcd yet */
    }
    free(body);
    return status == EW_OK ? reply->status : status;
}

/* Receives tick notes until a tick has seen `revision`. */
static ew_status await_tick(nng_socket sub, int64_t revision) {
    for (;;) {
        nng_msg *m;
        ew_tick_note note = {.size = sizeof note};
        int rv = nng_recvmsg(sub, &m, 0);
        if (rv != 0)
            return EW_ERR_TIMEOUT;
        ew_status status = ew_tick_note_unpack(nng_msg_body(m), nng_msg_len(m), &note);
        nng_msg_free(m);
        if (status != EW_OK || note.revision >= revision)
            return status;
    }
}

static ew_status shop(const char *submit_url, const char *ticks_url) {
    nng_socket req, sub;
    ew_submit_reply reply = {.size = sizeof reply};
    ew_status status = EW_ERR_SYSTEM;
    if (nng_req0_open(&req) != 0)
        return status;
    if (nng_sub0_open(&sub) != 0) {
        nng_close(req);
        return status;
    }
    nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, TIMEOUT_MS);
    nng_socket_set_ms(sub, NNG_OPT_RECVTIMEO, TIMEOUT_MS);
    nng_socket_set(sub, NNG_OPT_SUB_SUBSCRIBE, "", 0);
    if (nng_dial(req, submit_url, NULL, 0) == 0 && nng_dial(sub, ticks_url, NULL, 0) == 0)
        status = EW_OK;
    for (int i = 1; status == EW_OK && i <= ORDERS; i++) {
        status = order(req, i, &reply);
        printf("order %d: %s at revision %lld\n", i, ew_strerror(status), (long long)reply.revision);
        if (status == EW_OK)
            status = await_tick(sub, reply.revision);
    }
    nng_close(req);
    nng_close(sub);
    return status;
}

typedef struct urls {
    char submit[256], ticks[256];
} urls;

static urls urls_in(const char *directory) {
    urls u;
    snprintf(u.submit, sizeof u.submit, "ipc://%s/submit", directory);
    snprintf(u.ticks, sizeof u.ticks, "ipc://%s/ticks", directory);
    return u;
}

/* Makes the worker with the URLs of `u`; NULL: with its default URLs. */
static ew_status make_worker(ew_worker **w, const char *endpoints, const urls *u, ew_error *err) {
    static const ew_reactor reactor = EW_REACTOR(.tick = bill);
    ew_options *o = ew_options_new();
    ew_status status = ew_options_set(o, "prefix", "/shop", err);
    if (status == EW_OK && endpoints)
        status = ew_options_set(o, "endpoints", endpoints, err);
    if (status == EW_OK)
        status = ew_options_set(o, "submit", "on", err);
    if (status == EW_OK)
        status = ew_options_set(o, "publish_ticks", "on", err);
    if (status == EW_OK && u)
        status = ew_options_set(o, "submit_url", u->submit, err);
    if (status == EW_OK && u)
        status = ew_options_set(o, "ticks_url", u->ticks, err);
    if (status == EW_OK)
        status = ew_worker_open(w, o, &reactor, NULL, err);
    ew_options_free(o);
    return status;
}

static ew_status await_signal(const sigset_t *signals) {
    int number;
    printf("serving\n");
    fflush(stdout);
    return sigwait(signals, &number) == 0 ? EW_OK : EW_ERR_SYSTEM;
}

/* Runs the worker while this program orders, or, with `signals`, while others order. */
static ew_status run(ew_worker *w, const sigset_t *signals, ew_error *err) {
    ew_status status = ew_worker_start(w, err);
    if (status != EW_OK)
        return status;
    status = signals ? await_signal(signals) : shop(ew_worker_submit_url(w), ew_worker_ticks_url(w));
    ew_worker_stop(w);
    ew_status ended = ew_worker_join(w, err);
    return status == EW_OK && ended != EW_ERR_CANCELLED ? ended : status;
}

int main(int argc, char **argv) {
    bool serve = argc > 2 && strcmp(argv[1], "serve") == 0, order_only = argc > 2 && strcmp(argv[1], "order") == 0;
    const urls u = serve || order_only ? urls_in(argv[2]) : (urls){""};
    const char *endpoints = serve ? argv[3] : argc > 1 ? argv[1] : NULL;
    ew_error err = {0};
    ew_worker *w = NULL;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (serve)
        pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the first thread starts */
    ew_status status;
    if (order_only)
        status = shop(u.submit, u.ticks);
    else
        status = make_worker(&w, endpoints, serve ? &u : NULL, &err);
    if (w)
        status = run(w, serve ? &signals : NULL, &err);
    if (status != EW_OK)
        fprintf(stderr, "nng_app: %s: %s\n", ew_strerror(status), err.detail);
    ew_worker_close(w);
    return status == EW_OK ? 0 : 1;
}
