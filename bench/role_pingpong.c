/* nng alone: three threads in a ring, which pass one message on over PUSH and PULL, as watcher, reactor and committer
 * do in a tick. What remains of a tick's cost when etcd, gRPC and the cores are taken away. */
#include "role.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#include <pthread.h>
#include <stdio.h>

enum { HOPS = 3, BODY_BYTES = 256 };

typedef struct station {
    nng_socket pull, push;
    pthread_t thread;
} station;

static void must(int rv, const char *what) {
    if (rv != 0)
        role_fail("%s: %s", what, nng_strerror(rv));
}

/* Passes on whatever comes; an empty message is the last. */
static void *pass_on(void *arg) {
    station *s = arg;
    nng_msg *m;
    size_t len;
    do {
        must(nng_recvmsg(s->pull, &m, 0), "receiving");
        len = nng_msg_len(m);
        must(nng_sendmsg(s->push, m, 0), "sending");
    } while (len > 0);
    return NULL;
}

static void send(station *s, size_t bytes) {
    nng_msg *m;
    must(nng_msg_alloc(&m, bytes), "making a message");
    must(nng_sendmsg(s->push, m, 0), "sending");
}

static void receive(station *s) {
    nng_msg *m;
    must(nng_recvmsg(s->pull, &m, 0), "receiving");
    nng_msg_free(m);
}

static void build_ring(station *ring) {
    char url[64];
    for (int i = 0; i < HOPS; i++) {
        snprintf(url, sizeof url, "inproc://bench/%d", i);
        must(nng_pull0_open(&ring[i].pull), "opening a socket");
        must(nng_push0_open(&ring[i].push), "opening a socket");
        must(nng_listen(ring[i].pull, url, NULL, 0), "listening");
    }
    for (int i = 0; i < HOPS; i++) {
        snprintf(url, sizeof url, "inproc://bench/%d", (i + 1) % HOPS);
        must(nng_dial(ring[i].push, url, NULL, 0), "dialing");
    }
}

void role_pingpong(const role_args *a) {
    static histogram latency;
    station ring[HOPS];
    int64_t rounds = args_int(a, "ticks", 20000);
    build_ring(ring);
    for (int i = 1; i < HOPS; i++)
        if (pthread_create(&ring[i].thread, NULL, pass_on, &ring[i]) != 0)
            role_fail("a thread cannot be started");
    usage from = usage_now();
    for (int64_t i = 0; i < rounds; i++) {
        int64_t before_ns = now_ns();
        send(&ring[0], BODY_BYTES);
        receive(&ring[0]);
        histogram_add(&latency, (uint64_t)(now_ns() - before_ns));
    }
    usage to = usage_now();
    json_t *result = json_object();
    usage_report(result, &from, &to, rounds);
    role_add_latency(result, &latency);
    /* nng 1.5 must not close a socket that a thread is about to use: first the threads end. */
    send(&ring[0], 0);
    receive(&ring[0]);
    for (int i = 1; i < HOPS; i++)
        pthread_join(ring[i].thread, NULL);
    for (int i = 0; i < HOPS; i++) {
        nng_close(ring[i].push);
        nng_close(ring[i].pull);
    }
    role_say(result);
}
