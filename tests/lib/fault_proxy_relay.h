/* One connection through a fault proxy: two sockets, and the bytes that were read from each and not yet written to the
 * other. */
#ifndef TESTS_LIB_FAULT_PROXY_RELAY_H
#define TESTS_LIB_FAULT_PROXY_RELAY_H

#include "lib/fault_proxy.h"

#include <poll.h>
#include <stdbool.h>

/* The faults of the proxy. Unsigned members are sets of fault_proxy_direction, except `flip_at`. */
typedef struct relay_faults {
    bool cut;
    unsigned hold, keep, swallow, tear, flip;
    unsigned flip_at;
    int64_t delay_us;
    int bytes_a_s;     /* 0: no limit */
    int64_t credit[2]; /* bytes that may still be read in each direction, if there is a limit */
} relay_faults;

typedef struct relay_pair relay_pair;

typedef enum relay_end { RELAY_GOES_ON, RELAY_OVER, RELAY_TORN } relay_end;

relay_pair *relay_new(int near, int far); /* client and server; owns both */
void relay_free(relay_pair *p, bool reset);

/* Fills in what poll waits for: two entries, near and far. Lowers `*due_us` to the time at which the connection needs a
 * turn. `p` may be NULL. */
void relay_prepare(const relay_pair *p, const relay_faults *f, int64_t now_us, struct pollfd polled[2],
                   int64_t *due_us);

/* Moves as many bytes as possible without blocking. */
relay_end relay_move(relay_pair *p, relay_faults *f, int64_t now_us, const struct pollfd polled[2],
                     fault_proxy_counts *counts);

void relay_keep(relay_pair *p, unsigned directions, fault_proxy_counts *counts); /* reads what is available */
bool relay_lost_bytes(const relay_pair *p);
void relay_count_held(const relay_pair *p, const relay_faults *f, fault_proxy_counts *counts);

#endif
