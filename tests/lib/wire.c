#include "lib/wire.h"

#include "lib/process.h"
#include "lib/wire_relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 64, ALARM = 0, LISTENER = 1, FIRST = 2, THROTTLE_STEP_MS = 5 };

struct wire {
    char endpoint[32];
    struct sockaddr_in server;
    int listener, alarm;
    pthread_t thread;
    _Atomic bool over;
    _Atomic unsigned turns; /* of the loop, each after the orders that came before it */

    pthread_mutex_t lock; /* all below; not held while the relay waits */
    relay_faults faults;
    bool mending;
    unsigned keeping;    /* ways */
    int64_t credited_us; /* when the throttle's credit was last raised */
    wire_counts counts;
    relay_pair *pairs[PAIRS];
};

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- connections ---- */

static void drop(wire *w, size_t i, bool reset) {
    relay_free(w->pairs[i], reset);
    w->pairs[i] = NULL;
}

static int dial(const wire *w) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&w->server, sizeof w->server) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void add(wire *w) {
    int near = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (near < 0)
        return;
    size_t i = 0;
    while (i < PAIRS && w->pairs[i] != NULL)
        i++;
    int far = w->faults.cut || i == PAIRS ? -1 : dial(w);
    if (far < 0) {
        close(near);
        w->counts.broken += w->faults.cut;
        return;
    }
    int one = 1;
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    w->pairs[i] = relay_new(near, far);
    w->counts.made++;
}

/* ---- the loop ---- */

static void raise_credit(wire *w, int64_t now) {
    relay_faults *f = &w->faults;
    if (f->bytes_a_s == 0)
        return;
    int64_t earned = (now - w->credited_us) * f->bytes_a_s / 1000000;
    if (earned == 0)
        return;
    w->credited_us = now;
    for (int way = 0; way < 2; way++) {
        f->credit[way] += earned;
        if (f->credit[way] > f->bytes_a_s / 10 + 1)
            f->credit[way] = f->bytes_a_s / 10 + 1; /* what was not used is not saved up */
    }
}

/* What the orders mean for connections that exist. */
static void obey(wire *w) {
    for (size_t i = 0; i < PAIRS; i++) {
        if (w->pairs[i] == NULL)
            continue;
        if (w->mending)
            relay_count_held(w->pairs[i], &w->faults, &w->counts);
        if (w->keeping != 0)
            relay_keep(w->pairs[i], w->keeping, &w->counts);
        if (w->faults.cut || (w->mending && relay_lost_bytes(w->pairs[i]))) {
            drop(w, i, false);
            w->counts.broken++;
        }
    }
    w->faults.keep |= w->keeping;
    if (w->mending)
        w->faults = (relay_faults){0};
    w->mending = false;
    w->keeping = 0;
}

static int prepare(wire *w, struct pollfd *polled) {
    int64_t now = now_us(), due = INT64_MAX;
    polled[ALARM] = (struct pollfd){.fd = w->alarm, .events = POLLIN};
    polled[LISTENER] = (struct pollfd){.fd = w->listener, .events = POLLIN};
    for (size_t i = 0; i < PAIRS; i++)
        relay_prepare(w->pairs[i], &w->faults, now, &polled[FIRST + 2 * i], &due);
    int wait_ms = due == INT64_MAX ? -1 : due <= now ? 0 : (int)((due - now) / 1000) + 1;
    if (w->faults.bytes_a_s != 0 && (wait_ms < 0 || wait_ms > THROTTLE_STEP_MS))
        wait_ms = THROTTLE_STEP_MS;
    return wait_ms;
}

static void turn(wire *w) {
    struct pollfd polled[FIRST + 2 * PAIRS];
    pthread_mutex_lock(&w->lock);
    int wait_ms = prepare(w, polled);
    pthread_mutex_unlock(&w->lock);
    poll(polled, FIRST + 2 * PAIRS, wait_ms);
    pthread_mutex_lock(&w->lock);
    int64_t now = now_us();
    raise_credit(w, now);
    obey(w);
    for (size_t i = 0; i < PAIRS; i++) {
        relay_end end =
            w->pairs[i] != NULL ? relay_move(w->pairs[i], &w->faults, now, &polled[FIRST + 2 * i], &w->counts) : 0;
        if (end != RELAY_GOES_ON)
            drop(w, i, end == RELAY_TORN);
        w->counts.torn += end == RELAY_TORN;
        w->counts.broken += end == RELAY_TORN;
    }
    if ((polled[LISTENER].revents & POLLIN) != 0)
        add(w);
    pthread_mutex_unlock(&w->lock);
    uint64_t rings;
    if ((polled[ALARM].revents & POLLIN) != 0 && read(w->alarm, &rings, sizeof rings) > 0)
        w->turns++;
}

static void *relay_all(void *arg) {
    wire *w = arg;
    while (!w->over)
        turn(w);
    for (size_t i = 0; i < PAIRS; i++)
        if (w->pairs[i] != NULL)
            drop(w, i, false);
    return NULL;
}

wire *wire_open(const char *endpoint) {
    wire *w = calloc(1, sizeof *w);
    char host[32];
    unsigned port;
    if (w == NULL || sscanf(endpoint, "%31[^:]:%u", host, &port) != 2)
        process_die("a wire to %s", endpoint);
    w->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &w->server.sin_addr);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    pthread_mutex_init(&w->lock, NULL);
    w->alarm = eventfd(0, EFD_CLOEXEC);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->alarm < 0 || bind(w->listener, (struct sockaddr *)&own, size) != 0 || listen(w->listener, PAIRS) != 0 ||
        getsockname(w->listener, (struct sockaddr *)&own, &size) != 0 ||
        pthread_create(&w->thread, NULL, relay_all, w) != 0)
        process_die("a wire to %s", endpoint);
    snprintf(w->endpoint, sizeof w->endpoint, "127.0.0.1:%u", ntohs(own.sin_port));
    return w;
}

const char *wire_endpoint(const wire *w) {
    return w->endpoint;
}

/* Wakes the relay and waits until it has made a whole turn since. */
static void ring(wire *w) {
    unsigned before = w->turns;
    uint64_t one = 1;
    if (write(w->alarm, &one, sizeof one) != sizeof one)
        process_die("a wire's alarm");
    while (w->turns == before && !w->over)
        sched_yield();
}

/* ---- orders ---- */

static relay_faults *give(wire *w) {
    pthread_mutex_lock(&w->lock);
    return &w->faults;
}

static void given(wire *w) {
    pthread_mutex_unlock(&w->lock);
    ring(w);
}

void wire_cut(wire *w) {
    give(w)->cut = true;
    given(w);
}

void wire_hold(wire *w, wire_way way) {
    give(w)->hold |= way;
    given(w);
}

void wire_swallow(wire *w, wire_way way) {
    give(w)->swallow |= way;
    given(w);
}

void wire_keep(wire *w, wire_way way) {
    give(w);
    w->keeping |= way;
    given(w);
}

void wire_deliver(wire *w, wire_way way) {
    give(w)->hold &= ~(unsigned)way;
    given(w);
}

void wire_delay(wire *w, int ms) {
    give(w)->delay_us = (int64_t)ms * 1000;
    given(w);
}

void wire_throttle(wire *w, int bytes_a_s) {
    give(w)->bytes_a_s = bytes_a_s;
    w->credited_us = now_us();
    given(w);
}

void wire_tear(wire *w, wire_way way) {
    give(w)->tear |= way;
    given(w);
}

void wire_flip(wire *w, wire_way way, unsigned at) {
    relay_faults *f = give(w);
    f->flip |= way;
    f->flip_at = at;
    given(w);
}

void wire_mend(wire *w) {
    give(w);
    w->mending = true;
    given(w);
}

wire_counts wire_count(wire *w) {
    pthread_mutex_lock(&w->lock);
    wire_counts counts = w->counts;
    pthread_mutex_unlock(&w->lock);
    return counts;
}

void wire_close(wire *w) {
    if (w == NULL)
        return;
    w->over = true;
    ring(w);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    close(w->listener);
    close(w->alarm);
    free(w);
}
