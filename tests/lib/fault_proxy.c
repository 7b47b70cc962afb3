#include "lib/fault_proxy.h"

#include "lib/fault_proxy_relay.h"
#include "lib/process.h"

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

struct fault_proxy {
    char endpoint[32];
    struct sockaddr_in server;
    int listener, alarm;
    pthread_t thread;
    _Atomic bool over;
    _Atomic unsigned turns; /* of the loop; each applies the orders that came before it */

    pthread_mutex_t lock; /* protects the members below; not held while the relay waits */
    relay_faults faults;
    bool mending;
    unsigned keeping;    /* directions */
    int64_t credited_us; /* when the throttle last added credit */
    fault_proxy_counts counts;
    relay_pair *pairs[PAIRS];
};

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- connections ---- */

static void drop(fault_proxy *proxy, size_t i, bool reset) {
    relay_free(proxy->pairs[i], reset);
    proxy->pairs[i] = NULL;
}

static int dial(const fault_proxy *proxy) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&proxy->server, sizeof proxy->server) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void add(fault_proxy *proxy) {
    int near = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (near < 0)
        return;
    size_t i = 0;
    while (i < PAIRS && proxy->pairs[i])
        i++;
    int far = proxy->faults.cut || i == PAIRS ? -1 : dial(proxy);
    if (far < 0) {
        close(near);
        proxy->counts.broken += proxy->faults.cut;
        return;
    }
    int one = 1;
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    proxy->pairs[i] = relay_new(near, far);
    proxy->counts.made++;
}

/* ---- the loop ---- */

static void raise_credit(fault_proxy *proxy, int64_t now) {
    relay_faults *f = &proxy->faults;
    if (f->bytes_a_s == 0)
        return;
    int64_t earned = (now - proxy->credited_us) * f->bytes_a_s / 1000000;
    if (earned == 0)
        return;
    proxy->credited_us = now;
    for (int direction = 0; direction < 2; direction++) {
        f->credit[direction] += earned;
        if (f->credit[direction] > f->bytes_a_s / 10 + 1)
            f->credit[direction] = f->bytes_a_s / 10 + 1; /* unused credit is not saved */
    }
}

/* Applies the orders to existing connections. */
static void obey(fault_proxy *proxy) {
    for (size_t i = 0; i < PAIRS; i++) {
        if (!proxy->pairs[i])
            continue;
        if (proxy->mending)
            relay_count_held(proxy->pairs[i], &proxy->faults, &proxy->counts);
        if (proxy->keeping != 0)
            relay_keep(proxy->pairs[i], proxy->keeping, &proxy->counts);
        if (proxy->faults.cut || (proxy->mending && relay_lost_bytes(proxy->pairs[i]))) {
            drop(proxy, i, false);
            proxy->counts.broken++;
        }
    }
    proxy->faults.keep |= proxy->keeping;
    if (proxy->mending)
        proxy->faults = (relay_faults){0};
    proxy->mending = false;
    proxy->keeping = 0;
}

static int prepare(fault_proxy *proxy, struct pollfd *polled) {
    int64_t now = now_us(), due = INT64_MAX;
    polled[ALARM] = (struct pollfd){.fd = proxy->alarm, .events = POLLIN};
    polled[LISTENER] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    for (size_t i = 0; i < PAIRS; i++)
        relay_prepare(proxy->pairs[i], &proxy->faults, now, &polled[FIRST + 2 * i], &due);
    int wait_ms = due == INT64_MAX ? -1 : due <= now ? 0 : (int)((due - now) / 1000) + 1;
    if (proxy->faults.bytes_a_s != 0 && (wait_ms < 0 || wait_ms > THROTTLE_STEP_MS))
        wait_ms = THROTTLE_STEP_MS;
    return wait_ms;
}

static void turn(fault_proxy *proxy) {
    struct pollfd polled[FIRST + 2 * PAIRS];
    pthread_mutex_lock(&proxy->lock);
    int wait_ms = prepare(proxy, polled);
    pthread_mutex_unlock(&proxy->lock);
    poll(polled, FIRST + 2 * PAIRS, wait_ms);
    pthread_mutex_lock(&proxy->lock);
    int64_t now = now_us();
    raise_credit(proxy, now);
    obey(proxy);
    for (size_t i = 0; i < PAIRS; i++) {
        relay_end end = proxy->pairs[i]
                            ? relay_move(proxy->pairs[i], &proxy->faults, now, &polled[FIRST + 2 * i], &proxy->counts)
                            : 0;
        if (end != RELAY_GOES_ON)
            drop(proxy, i, end == RELAY_TORN);
        proxy->counts.torn += end == RELAY_TORN;
        proxy->counts.broken += end == RELAY_TORN;
    }
    if ((polled[LISTENER].revents & POLLIN) != 0)
        add(proxy);
    pthread_mutex_unlock(&proxy->lock);
    uint64_t rings;
    if ((polled[ALARM].revents & POLLIN) != 0 && read(proxy->alarm, &rings, sizeof rings) > 0)
        proxy->turns++;
}

static void *relay_all(void *arg) {
    fault_proxy *proxy = arg;
    while (!proxy->over)
        turn(proxy);
    for (size_t i = 0; i < PAIRS; i++)
        if (proxy->pairs[i])
            drop(proxy, i, false);
    return NULL;
}

fault_proxy *fault_proxy_open(const char *endpoint) {
    fault_proxy *proxy = calloc(1, sizeof *proxy);
    char host[32];
    unsigned port;
    if (!proxy || sscanf(endpoint, "%31[^:]:%u", host, &port) != 2)
        process_die("cannot open a fault proxy to %s", endpoint);
    proxy->server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &proxy->server.sin_addr);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    pthread_mutex_init(&proxy->lock, NULL);
    proxy->alarm = eventfd(0, EFD_CLOEXEC);
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy->alarm < 0 || bind(proxy->listener, (struct sockaddr *)&own, size) != 0 ||
        listen(proxy->listener, PAIRS) != 0 || getsockname(proxy->listener, (struct sockaddr *)&own, &size) != 0 ||
        pthread_create(&proxy->thread, NULL, relay_all, proxy) != 0)
        process_die("cannot open a fault proxy to %s", endpoint);
    snprintf(proxy->endpoint, sizeof proxy->endpoint, "127.0.0.1:%u", ntohs(own.sin_port));
    return proxy;
}

const char *fault_proxy_endpoint(const fault_proxy *proxy) {
    return proxy->endpoint;
}

/* Wakes the relay and waits until it has completed a turn. */
static void ring(fault_proxy *proxy) {
    unsigned before = proxy->turns;
    uint64_t one = 1;
    if (write(proxy->alarm, &one, sizeof one) != sizeof one)
        process_die("cannot wake a fault proxy");
    while (proxy->turns == before && !proxy->over)
        sched_yield();
}

/* ---- orders ---- */

static relay_faults *give(fault_proxy *proxy) {
    pthread_mutex_lock(&proxy->lock);
    return &proxy->faults;
}

static void given(fault_proxy *proxy) {
    pthread_mutex_unlock(&proxy->lock);
    ring(proxy);
}

void fault_proxy_cut(fault_proxy *proxy) {
    give(proxy)->cut = true;
    given(proxy);
}

void fault_proxy_hold(fault_proxy *proxy, fault_proxy_direction direction) {
    give(proxy)->hold |= direction;
    given(proxy);
}

void fault_proxy_swallow(fault_proxy *proxy, fault_proxy_direction direction) {
    give(proxy)->swallow |= direction;
    given(proxy);
}

void fault_proxy_keep(fault_proxy *proxy, fault_proxy_direction direction) {
    give(proxy);
    proxy->keeping |= direction;
    given(proxy);
}

void fault_proxy_deliver(fault_proxy *proxy, fault_proxy_direction direction) {
    give(proxy)->hold &= ~(unsigned)direction;
    given(proxy);
}

void fault_proxy_delay(fault_proxy *proxy, int ms) {
    give(proxy)->delay_us = (int64_t)ms * 1000;
    given(proxy);
}

void fault_proxy_throttle(fault_proxy *proxy, int bytes_a_s) {
    give(proxy)->bytes_a_s = bytes_a_s;
    proxy->credited_us = now_us();
    given(proxy);
}

void fault_proxy_tear(fault_proxy *proxy, fault_proxy_direction direction) {
    give(proxy)->tear |= direction;
    given(proxy);
}

void fault_proxy_flip(fault_proxy *proxy, fault_proxy_direction direction, unsigned at) {
    relay_faults *f = give(proxy);
    f->flip |= direction;
    f->flip_at = at;
    given(proxy);
}

void fault_proxy_mend(fault_proxy *proxy) {
    give(proxy);
    proxy->mending = true;
    given(proxy);
}

fault_proxy_counts fault_proxy_count(fault_proxy *proxy) {
    pthread_mutex_lock(&proxy->lock);
    fault_proxy_counts counts = proxy->counts;
    pthread_mutex_unlock(&proxy->lock);
    return counts;
}

void fault_proxy_close(fault_proxy *proxy) {
    if (!proxy)
        return;
    proxy->over = true;
    ring(proxy);
    pthread_join(proxy->thread, NULL);
    pthread_mutex_destroy(&proxy->lock);
    close(proxy->listener);
    close(proxy->alarm);
    free(proxy);
}
