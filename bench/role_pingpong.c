/* nng alone: the hops of a tick, without any other work. This is what a tick costs without etcd, gRPC, the cores and
 * protobuf.
 *
 * A tick has two messages. Each is received as in src/actors/mailbox.c, by an aio whose callback runs on a thread of
 * nng:
 *   reactor -> committer   the patches; the callback starts the transaction, whose completion wakes the watcher's
 *   thread watcher -> reactor     events and outcome in one message; the callback wakes the reactor's thread
 * So here two threads send one message back and forth. A condition variable, which a callback signals, wakes each. */
#include "role.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#include <pthread.h>
#include <stdio.h>

enum { BODY_BYTES = 256 }; /* about the size of the messages of `chain` */

typedef struct station {
    nng_socket pull, push;
    nng_aio *aio, *sending;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    nng_msg *arrived; /* under the lock; there is at most one message at a time */
    int64_t count;    /* under the lock; how many have arrived */
} station;

static void must(int rv, const char *what) {
    if (rv != 0)
        role_fail("%s: %s", what, nng_strerror(rv));
}

static void on_message(void *arg) {
    station *s = arg;
    if (nng_aio_result(s->aio) != 0)
        return; /* the station is being closed */
    pthread_mutex_lock(&s->lock);
    s->arrived = nng_aio_get_msg(s->aio);
    s->count++;
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->filled);
    nng_recv_aio(s->pull, s->aio);
}

static void send(station *s, nng_msg *m) {
    nng_aio_set_msg(s->sending, m);
    nng_send_aio(s->push, s->sending);
    nng_aio_wait(s->sending);
    must(nng_aio_result(s->sending), "sending");
}

static nng_msg *receive(station *s) {
    pthread_mutex_lock(&s->lock);
    while (!s->arrived)
        pthread_cond_wait(&s->filled, &s->lock);
    nng_msg *m = s->arrived;
    s->arrived = NULL;
    pthread_mutex_unlock(&s->lock);
    return m;
}

/* Allocates a new message for each hop, as the actors do. An empty message is the last. */
static nng_msg *new_message(size_t bytes) {
    nng_msg *m;
    must(nng_msg_alloc(&m, bytes), "making a message");
    return m;
}

/* The watcher's side: answers each message, until an empty one. */
static void *answer_all(void *arg) {
    station *s = arg;
    size_t len;
    do {
        nng_msg *m = receive(s);
        len = nng_msg_len(m);
        nng_msg_free(m);
        send(s, new_message(len));
    } while (len > 0);
    return NULL;
}

/* Sends to the other station and waits for its answer. */
static void go_round(station *s, size_t bytes) {
    send(s, new_message(bytes));
    nng_msg_free(receive(s));
}

static void open_station(station *s, const char *url) {
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->filled, NULL);
    must(nng_pull0_open(&s->pull), "opening a socket");
    must(nng_push0_open(&s->push), "opening a socket");
    must(nng_socket_set_int(s->push, NNG_OPT_SENDBUF, 2), "setting a buffer");
    must(nng_aio_alloc(&s->aio, on_message, s), "making an aio");
    must(nng_aio_alloc(&s->sending, NULL, NULL), "making an aio");
    nng_aio_set_timeout(s->sending, NNG_DURATION_ZERO);
    must(nng_listen(s->pull, url, NULL, 0), "listening");
    nng_recv_aio(s->pull, s->aio);
}

static void close_station(station *s) {
    nng_aio_stop(s->aio);
    nng_aio_free(s->aio);
    nng_aio_free(s->sending);
    nng_close(s->push);
    nng_close(s->pull);
    pthread_cond_destroy(&s->filled);
    pthread_mutex_destroy(&s->lock);
}

void role_pingpong(const role_args *a) {
    static histogram latency;
    static station reactor, watcher;
    pthread_t thread;
    int64_t rounds = args_int(a, "ticks", 2000);
    open_station(&reactor, "inproc://bench/reactor");
    open_station(&watcher, "inproc://bench/watcher");
    must(nng_dial(reactor.push, "inproc://bench/watcher", NULL, 0), "dialing");
    must(nng_dial(watcher.push, "inproc://bench/reactor", NULL, 0), "dialing");
    if (pthread_create(&thread, NULL, answer_all, &watcher) != 0)
        role_fail("cannot start a thread");
    usage from = usage_now();
    for (int64_t i = 0; i < rounds; i++) {
        int64_t before_ns = now_ns();
        go_round(&reactor, BODY_BYTES);
        histogram_add(&latency, (uint64_t)(now_ns() - before_ns));
    }
    usage to = usage_now();
    json_t *result = json_object();
    usage_report(result, &from, &to, rounds);
    role_add_latency(result, &latency);
    go_round(&reactor, 0); /* ends the thread first: nng 1.5 must not close a socket that a thread is about to use */
    pthread_join(thread, NULL);
    close_station(&reactor);
    close_station(&watcher);
    if (reactor.count != rounds + 1 || watcher.count != rounds + 1)
        role_fail("%lld and %lld messages instead of %lld rounds + 1", (long long)reactor.count,
                  (long long)watcher.count, (long long)rounds);
    role_say(result);
}
