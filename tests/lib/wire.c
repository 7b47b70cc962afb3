#include "lib/wire.h"

#include "lib/process.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 64, ALARM = 0, LISTENER = 1, FIRST = 2 };

/* Two sockets and what was read from each, not yet written to the other. */
typedef struct pair {
    int fd[2];
    size_t len[2], sent[2];
    char bytes[2][16384];
} pair;

struct wire {
    char endpoint[32];
    struct sockaddr_in server;
    int listener, alarm;
    pthread_t thread;
    _Atomic bool cut, over;
    _Atomic unsigned turns; /* of the loop, each after the orders that came before it */
    pair *pairs[PAIRS];
};

static void drop(wire *w, size_t i) {
    close(w->pairs[i]->fd[0]);
    close(w->pairs[i]->fd[1]);
    free(w->pairs[i]);
    w->pairs[i] = NULL;
}

static void add(wire *w) {
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int far = w->cut ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t i = 0;
    while (i < PAIRS && w->pairs[i] != NULL)
        i++;
    pair *p = far >= 0 && i < PAIRS ? calloc(1, sizeof *p) : NULL;
    if (p == NULL || connect(far, (struct sockaddr *)&w->server, sizeof w->server) != 0) {
        free(p);
        if (far >= 0)
            close(far);
        close(fd);
        return;
    }
    p->fd[0] = fd;
    p->fd[1] = far;
    w->pairs[i] = p;
}

/* Moves bytes from one side to the other, as far as it goes without waiting: false when the connection is over. */
static bool relay(pair *p, int from, short readable, short writable) {
    if ((readable & (POLLIN | POLLHUP | POLLERR)) != 0 && p->len[from] == 0) {
        ssize_t n = recv(p->fd[from], p->bytes[from], sizeof p->bytes[from], MSG_DONTWAIT);
        if (n <= 0)
            return false;
        p->len[from] = (size_t)n;
        p->sent[from] = 0;
        writable |= POLLOUT; /* usually there is room */
    }
    if ((writable & POLLOUT) != 0 && p->len[from] > 0) {
        ssize_t n = send(p->fd[1 - from], p->bytes[from] + p->sent[from], p->len[from], MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            p->sent[from] += (size_t)n;
            p->len[from] -= (size_t)n;
        }
    }
    return true;
}

static short wanted(const pair *p, int side) {
    return (short)((p->len[side] == 0 ? POLLIN : 0) | (p->len[1 - side] > 0 ? POLLOUT : 0));
}

static void turn(wire *w) {
    struct pollfd polled[FIRST + 2 * PAIRS];
    polled[ALARM] = (struct pollfd){.fd = w->alarm, .events = POLLIN};
    polled[LISTENER] = (struct pollfd){.fd = w->listener, .events = POLLIN};
    for (size_t i = 0; i < PAIRS; i++) {
        for (int side = 0; side < 2; side++) {
            const pair *p = w->pairs[i];
            polled[FIRST + 2 * i + (size_t)side] =
                (struct pollfd){.fd = p != NULL ? p->fd[side] : -1, .events = p != NULL ? wanted(p, side) : (short)0};
        }
    }
    poll(polled, FIRST + 2 * PAIRS, -1);
    for (size_t i = 0; i < PAIRS; i++) {
        const struct pollfd *of = &polled[FIRST + 2 * i];
        if (w->pairs[i] != NULL && (w->cut || !relay(w->pairs[i], 0, of[0].revents, of[1].revents) ||
                                    !relay(w->pairs[i], 1, of[1].revents, of[0].revents)))
            drop(w, i);
    }
    if ((polled[LISTENER].revents & POLLIN) != 0)
        add(w);
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
            drop(w, i);
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

void wire_cut(wire *w) {
    w->cut = true;
    ring(w);
}

void wire_mend(wire *w) {
    w->cut = false;
    ring(w);
}

void wire_close(wire *w) {
    if (w == NULL)
        return;
    w->over = true;
    ring(w);
    pthread_join(w->thread, NULL);
    close(w->listener);
    close(w->alarm);
    free(w);
}
