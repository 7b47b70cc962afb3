/* Plain etcd on one thread, without actors: shared by the floor, the external writer and the bare watch. In this
 * folder, only this file and steps.c use the client layer's own header. */
#ifndef BENCH_HAND_H
#define BENCH_HAND_H

#include "etcd/etcd.h"
#include "role.h"

#include "etcd.pb-c.h"

typedef struct hand {
    ew_client *client;
    etcd_queue *queue;
    ew_options *options;
} hand;

void hand_open(hand *h, const role_args *a);
void hand_close(hand *h);

/* Starts a transaction; `fn` gets the answer. `request` is not used after the call. */
void hand_txn(hand *h, const Pb__TxnRequest *request, etcd_answer_fn fn, void *arg);

/* Watches all keys that start with `prefix`, from `revision` on (0: from now), and returns when etcd has created the
 * watch. Calls `events` for each response with events. */
typedef void (*hand_events_fn)(void *arg, const Pb__WatchResponse *response);
typedef struct hand_watch hand_watch;
hand_watch *hand_watch_open(hand *h, const char *prefix, int64_t revision, hand_events_fn events, void *arg);
void hand_watch_close(hand_watch *w);

/* Runs the queue once. Ends the process, as role_fail does, if nothing completes within a minute. */
void hand_turn(hand *h);

static inline ProtobufCBinaryData hand_bytes(const void *data, size_t len) {
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
}

#endif
