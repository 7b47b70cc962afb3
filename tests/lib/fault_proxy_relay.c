#include "lib/fault_proxy_relay.h"

#include "lib/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 16384, QUEUE_MAX = 262144, WORTH_TEARING = 40 };

typedef struct piece {
    struct piece *next;
    int64_t due_us;
    size_t len, sent;
    char bytes[];
} piece;

/* One direction: from fd[direction] to the other. */
typedef struct flow {
    piece *first, *last;
    size_t queued; /* bytes */
    bool ended;    /* the source has closed */
    bool lost;     /* bytes were discarded */
} flow;

struct relay_pair {
    int fd[2];
    flow flows[2];
};

static unsigned bit(int direction) {
    return direction == 0 ? FAULT_PROXY_UP : FAULT_PROXY_DOWN;
}

relay_pair *relay_new(int near, int far) {
    relay_pair *p = calloc(1, sizeof *p);
    if (!p)
        process_die("out of memory");
    p->fd[0] = near;
    p->fd[1] = far;
    return p;
}

static void pop(flow *f) {
    piece *p = f->first;
    f->queued -= p->len;
    f->first = p->next;
    if (!f->first)
        f->last = NULL;
    free(p);
}

static void push(flow *f, const char *bytes, size_t len, int64_t due_us) {
    piece *p = malloc(sizeof *p + len);
    if (!p)
        process_die("out of memory");
    *p = (piece){.due_us = due_us, .len = len};
    memcpy(p->bytes, bytes, len);
    if (f->last)
        f->last->next = p;
    else
        f->first = p;
    f->last = p;
    f->queued += len;
}

void relay_free(relay_pair *p, bool reset) {
    for (int side = 0; side < 2; side++) {
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        if (reset)
            setsockopt(p->fd[side], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(p->fd[side]);
        while (p->flows[side].first)
            pop(&p->flows[side]);
    }
    free(p);
}

/* ---- what to wait for ---- */

static bool may_read(const flow *f, const relay_faults *faults, int direction) {
    return !f->ended && f->queued < QUEUE_MAX && (faults->hold & ~faults->keep & bit(direction)) == 0 &&
           (faults->bytes_a_s == 0 || faults->credit[direction] > 0);
}

static bool may_write(const flow *f, const relay_faults *faults, int direction, int64_t now_us) {
    return f->first && f->first->due_us <= now_us && (faults->hold & bit(direction)) == 0;
}

void relay_prepare(const relay_pair *p, const relay_faults *f, int64_t now_us, struct pollfd polled[2],
                   int64_t *due_us) {
    for (int side = 0; side < 2; side++) {
        polled[side] = (struct pollfd){.fd = -1};
        if (!p)
            continue;
        const flow *from = &p->flows[side], *to = &p->flows[1 - side];
        polled[side].events =
            (short)((may_read(from, f, side) ? POLLIN : 0) | (may_write(to, f, 1 - side, now_us) ? POLLOUT : 0));
        /* poll reports a hang-up again and again, so the end is polled only if it would change something. */
        if (polled[side].events != 0)
            polled[side].fd = p->fd[side];
        if (from->first && from->first->due_us > now_us && from->first->due_us < *due_us)
            *due_us = from->first->due_us;
    }
}

/* ---- moving ---- */

/* Passes half of the bytes, then resets the connection. */
static relay_end tear(relay_pair *p, relay_faults *f, int direction, const char *bytes, size_t len) {
    f->tear &= ~bit(direction);
    if (send(p->fd[1 - direction], bytes, len / 2, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return RELAY_OVER;
    return RELAY_TORN;
}

static relay_end take(relay_pair *p, relay_faults *f, int direction, int64_t now_us, fault_proxy_counts *counts) {
    char bytes[PIECE];
    size_t most = sizeof bytes;
    if (f->bytes_a_s != 0 && (int64_t)most > f->credit[direction])
        most = (size_t)f->credit[direction];
    flow *from = &p->flows[direction];
    ssize_t n = recv(p->fd[direction], bytes, most, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return RELAY_GOES_ON;
    if (n <= 0) {
        from->ended = true;
        return RELAY_GOES_ON;
    }
    size_t len = (size_t)n;
    if (f->bytes_a_s != 0) {
        f->credit[direction] -= n;
        counts->late[direction] += len;
    }
    if (((f->swallow | f->keep) & bit(direction)) != 0) {
        from->lost = true;
        counts->swallowed[direction] += len;
        return RELAY_GOES_ON;
    }
    if ((f->tear & bit(direction)) != 0 && len >= WORTH_TEARING && !from->first)
        return tear(p, f, direction, bytes, len);
    if ((f->flip & bit(direction)) != 0 && len >= WORTH_TEARING) {
        f->flip &= ~bit(direction);
        bytes[len - 1 - f->flip_at / 8 % len] ^= (char)(1u << f->flip_at % 8);
        counts->flipped++;
    }
    counts->late[direction] += f->delay_us > 0 ? len : 0;
    push(from, bytes, len, now_us + f->delay_us);
    return RELAY_GOES_ON;
}

static relay_end give(relay_pair *p, const relay_faults *f, int direction, int64_t now_us, fault_proxy_counts *counts) {
    flow *from = &p->flows[direction];
    while (may_write(from, f, direction, now_us)) {
        piece *head = from->first;
        ssize_t n =
            send(p->fd[1 - direction], head->bytes + head->sent, head->len - head->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? RELAY_GOES_ON : RELAY_OVER;
        counts->passed[direction] += (uint64_t)n;
        head->sent += (size_t)n;
        if (head->sent < head->len)
            return RELAY_GOES_ON;
        pop(from);
    }
    return RELAY_GOES_ON;
}

relay_end relay_move(relay_pair *p, relay_faults *f, int64_t now_us, const struct pollfd polled[2],
                     fault_proxy_counts *counts) {
    for (int direction = 0; direction < 2; direction++) {
        relay_end end = RELAY_GOES_ON;
        if ((polled[direction].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
            may_read(&p->flows[direction], f, direction))
            end = take(p, f, direction, now_us, counts);
        if (end == RELAY_GOES_ON)
            end = give(p, f, direction, now_us, counts); /* usually the socket has space */
        if (end != RELAY_GOES_ON)
            return end;
        /* The source has closed and all of its bytes are delivered. */
        if (p->flows[direction].ended && !p->flows[direction].first)
            return RELAY_OVER;
    }
    return RELAY_GOES_ON;
}

void relay_keep(relay_pair *p, unsigned directions, fault_proxy_counts *counts) {
    char bytes[PIECE];
    ssize_t n;
    for (int direction = 0; direction < 2; direction++) {
        while ((directions & bit(direction)) != 0 &&
               (n = recv(p->fd[direction], bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
            push(&p->flows[direction], bytes, (size_t)n, 0);
            counts->held[direction] += (uint64_t)n;
            p->flows[direction].lost = true; /* the bytes that follow are unknown */
        }
    }
}

/* ---- what happened ---- */

bool relay_lost_bytes(const relay_pair *p) {
    return p->flows[0].lost || p->flows[1].lost;
}

void relay_count_held(const relay_pair *p, const relay_faults *f, fault_proxy_counts *counts) {
    for (int direction = 0; direction < 2; direction++) {
        int waiting = 0;
        if ((f->hold & bit(direction)) != 0 && ioctl(p->fd[direction], FIONREAD, &waiting) == 0)
            counts->held[direction] += (uint64_t)waiting + p->flows[direction].queued;
    }
}
