/* The demo's etcd client: writes the sample, then makes members join, leave and crash on a schedule, each with its own
 * lease, like real members. It has its own thread and does not use the reactor. */
#ifndef SERVICE_DEMO_HAND_H
#define SERVICE_DEMO_HAND_H

#include <etcdworker/client.h>

typedef struct demo_hand demo_hand;

/* Writes the sample and starts the thread. `prefix` is normalised and must outlive the client. */
int demo_hand_start(demo_hand **out, const ew_options *o, const char *prefix, ew_error *err);

/* Writes a description of the next step to `out`. Any thread. */
void demo_hand_next(demo_hand *h, char *out, size_t size);

void demo_hand_stop(demo_hand *h); /* NULL is allowed */

#endif
