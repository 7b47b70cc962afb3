/* The tags of a completion queue. A tag is the first member of the struct that waits for a completion. */
#ifndef ETCD_QUEUE_H
#define ETCD_QUEUE_H

#include "etcd/etcd.h"

#include <grpc/grpc.h>

/* Aborts if the condition does not hold, also in release builds: misuse of gRPC would corrupt memory. */
#define etcd_must(condition) ((condition) ? (void)0 : etcd_must_failed(#condition, __FILE__, __LINE__))
_Noreturn void etcd_must_failed(const char *condition, const char *file, int line);

typedef struct queue_tag queue_tag;
struct queue_tag {
    /* Called inside etcd_queue_run. `ok` is gRPC's success flag of the batch. May free the struct with the tag. */
    void (*done)(queue_tag *tag, bool ok);
};

grpc_completion_queue *queue_of(etcd_queue *q);

/* Background work, for which no caller waits. It makes progress while the queue runs. etcd_queue_free cancels
 * unfinished work and waits for its end. */
typedef struct queue_background {
    struct queue_background *next, *previous;
    void (*cancel)(struct queue_background *work); /* makes its tags complete soon */
} queue_background;

void queue_enter_background(etcd_queue *q, queue_background *work); /* before the work is started */
void queue_leave_background(etcd_queue *q, queue_background *work); /* before the work is freed */

/* Starts a batch whose completion runs `tag`. The tag must not move until then. */
void queue_start(grpc_call *call, const grpc_op *ops, size_t count, queue_tag *tag);

/* Runs `tag` when the channel's state differs from `state`, or at the deadline. */
void queue_watch(etcd_queue *q, grpc_channel *channel, grpc_connectivity_state state, int64_t deadline_ms,
                 queue_tag *tag);

/* Returns a time of etcd_now_ms as a gpr_timespec; INT64_MAX is never. */
gpr_timespec queue_time(int64_t at_ms);

#endif
