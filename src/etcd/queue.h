/* Tags of a completion queue, for what runs on one: a tag is the first member of whatever waits for a completion. */
#ifndef ETCD_QUEUE_H
#define ETCD_QUEUE_H

#include "etcd/etcd.h"

#include <grpc/grpc.h>

/* What must hold, also in release: a broken promise of ours towards gRPC would end in memory corruption. */
#define etcd_must(condition) ((condition) ? (void)0 : etcd_must_failed(#condition, __FILE__, __LINE__))
_Noreturn void etcd_must_failed(const char *condition, const char *file, int line);

typedef struct queue_tag queue_tag;
struct queue_tag {
    /* Runs inside etcd_queue_run. `ok` is gRPC's success flag of the batch. May free what holds the tag. */
    void (*done)(queue_tag *tag, bool ok);
};

grpc_completion_queue *queue_of(etcd_queue *q);

/* Work that nobody waits for. It moves while the queue runs, and etcd_queue_free cancels what has not come back, and
 * waits for it. */
typedef struct queue_background {
    struct queue_background *next, *previous;
    void (*cancel)(struct queue_background *work); /* makes its tags come back soon */
} queue_background;

void queue_enter_background(etcd_queue *q, queue_background *work); /* before it is started */
void queue_leave_background(etcd_queue *q, queue_background *work); /* before it is freed */

/* Starts a batch whose completion runs `tag`. The tag must stay where it is until then. */
void queue_start(grpc_call *call, const grpc_op *ops, size_t count, queue_tag *tag);

/* Runs `tag` when the channel's state is another than `state`, or at the deadline. */
void queue_watch(etcd_queue *q, grpc_channel *channel, grpc_connectivity_state state, int64_t deadline_ms,
                 queue_tag *tag);

/* A point of etcd_now_ms as gRPC wants it; INT64_MAX is never. */
gpr_timespec queue_time(int64_t at_ms);

#endif
