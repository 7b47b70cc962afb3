/* An etcd in the process, below the actors: what src/actors calls of src/etcd (queues, calls, streams, client,
 * session), with the simulator's model of etcd behind it instead of gRPC and a server. The actors, their mailboxes, the
 * cores and the loops are the real ones, so what is left of a tick is what the actor path alone costs.
 *
 * Who starts a call has the model do it on the spot; the answer and the event of its revision are then in their queue
 * together, and its thread is woken once. That is as few wake-ups as these actors can have. What it leaves out:
 *   - all that etcd, gRPC and the kernel's sockets take, and threads of theirs that compete for the CPUs;
 *   - that answer and event come apart, so that a queue's thread is woken for each;
 *   - time: a call never fails nor times out, and no lease expires, so nothing is kept alive and a session needs no
 *     thread;
 *   - elections, and calls that no worker makes.
 * What it adds:
 *   - the model's own work, 3 to 5 us a transaction, which is counted to the process that is measured;
 *   - an answer that may be there before the committer has let go of the lock under which it starts a transaction: then
 *     the queue's thread waits for that, a switch that etcd is too slow to cause.
 *
 * Out of memory, it ends the process, as the model does. */
#ifndef BENCH_MEMORY_ETCD_H
#define BENCH_MEMORY_ETCD_H

#include "etcd/etcd.h"
#include "sim/etcd_model.h"

#include <pthread.h>

/* Over everything of this room: the model, its streams, and what is in the queues. Held for microseconds. */
extern pthread_mutex_t memory_lock;

/* What a queue's thread has to do: the first member of whatever that is. */
typedef struct memory_notice memory_notice;
struct memory_notice {
    memory_notice *next;
    void (*run)(memory_notice *n); /* inside etcd_queue_run, without the lock; may free what holds the notice */
    bool posted;                   /* in a queue: not to be posted again */
};

struct ew_client {
    etcd_model *model; /* each client has an etcd to itself */
    etcd_stream *streams;
};

/* Under the lock: puts a notice into a queue. The thread sleeps on until queue_signal. */
void queue_post(etcd_queue *q, memory_notice *n);

/* Wakes the queue's thread if it sleeps. Better without the lock, or it would wait for that first. */
void queue_signal(etcd_queue *q);

/* Under the lock: has the model answer. The bytes are valid until the next call. */
etcd_model_answer memory_call(ew_client *client, etcd_method method, ew_slice request);

/* Under the lock: tells the streams what the model has for them. `later` is a queue that the caller will signal; all
 * others are signalled here. */
void streams_look(ew_client *client, const etcd_queue *later);

#endif
