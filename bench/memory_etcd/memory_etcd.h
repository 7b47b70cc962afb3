/* An etcd in the process, below the actors: implements the functions of src/etcd that src/actors calls (queues, calls,
 * streams, client, session) with the simulator's model of etcd instead of gRPC and a server. The actors, their
 * mailboxes, the cores and the loops are the real ones, so the remaining cost of a tick is that of the actor path
 * alone.
 *
 * The thread that starts a call runs the model at once. The answer and the event of its revision are then together in
 * their queue, and the queue's thread is woken once: the lowest number of wake-ups possible for these actors. What the
 * etcd in memory leaves out:
 *   - the cost of etcd, gRPC and the kernel's sockets, and their threads, which compete for the CPUs;
 *   - separate arrivals of answer and event, each of which wakes a queue's thread;
 *   - time: a call never fails or times out, and no lease expires, so there are no keepalives and a session needs no
 *     thread;
 *   - elections, and calls that no worker makes.
 * What it adds:
 *   - the model's own work, 3 to 5 us for each transaction, which counts to the measured process;
 *   - an answer may arrive before the committer has released the lock under which it starts a transaction. Then the
 *     queue's thread waits for the lock, a context switch that a real etcd is too slow to cause.
 *
 * When out of memory, it ends the process, as the model does. */
#ifndef BENCH_MEMORY_ETCD_H
#define BENCH_MEMORY_ETCD_H

#include "etcd/etcd.h"
#include "sim/etcd_model.h"

#include <pthread.h>

/* Protects all data of this module: the model, its streams, and the content of the queues. Held for microseconds. */
extern pthread_mutex_t memory_lock;

/* Work for a queue's thread: the first member of a call or a stream. */
typedef struct memory_notice memory_notice;
struct memory_notice {
    memory_notice *next;
    void (*run)(memory_notice *n); /* called by etcd_queue_run, without the lock; may free the call or stream */
    bool posted;                   /* it is in a queue and must not be posted again */
};

struct ew_client {
    etcd_model *model; /* each client has its own etcd */
    etcd_stream *streams;
};

/* Needs the lock. Appends a notice to a queue. A sleeping thread is woken only by queue_signal. */
void queue_post(etcd_queue *q, memory_notice *n);

/* Wakes the queue's thread if it sleeps. Call it without the lock, for which the woken thread would have to wait. */
void queue_signal(etcd_queue *q);

/* Needs the lock. Returns the model's answer. Its bytes are valid until the next call. */
etcd_model_answer memory_call(ew_client *client, etcd_method method, ew_slice request);

/* Needs the lock. Posts the notices of all streams for which the model has a response. Signals their queues, except
 * `later`, which the caller signals. */
void streams_look(ew_client *client, const etcd_queue *later);

#endif
