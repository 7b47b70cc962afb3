/* The demo's hand in etcd: it makes the sample, and then members join, leave and crash on a schedule, each with a lease
 * of its own, as a real one would. A thread of its own; it knows nothing of the reactor. */
#ifndef SERVICE_DEMO_HAND_H
#define SERVICE_DEMO_HAND_H

#include <etcdworker/client.h>

typedef struct demo_hand demo_hand;

int demo_hand_start(demo_hand **out, const ew_options *o, const char *prefix, ew_error *err);

/* What it will do next, in words. Any thread. */
void demo_hand_next(demo_hand *h, char *out, size_t size);

void demo_hand_stop(demo_hand *h); /* NULL is fine */

#endif
