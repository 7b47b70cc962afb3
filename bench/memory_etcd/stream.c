/* Watch streams. A response is taken from the model only after the previous one was delivered: responses for a paused
 * or slow watcher wait in the model, as they wait in etcd. */
#include "memory_etcd.h"
#include "sim/memory.h"

#include <stdlib.h>

struct etcd_stream {
    memory_notice notice; /* first */
    etcd_stream *next;    /* in the client's list */
    ew_client *client;
    etcd_queue *queue;
    etcd_stream_callbacks callbacks;
    void *arg;
    etcd_model_stream *watch; /* this and the members below: under the lock */
    ew_slice response;        /* the next to deliver; data NULL: none */
    bool paused, cancelled;
};

static bool next_response(etcd_stream *s) {
    if (s->response.data || etcd_model_stream_take(s->watch, &s->response))
        return true;
    /* etcd serves watches that lag behind every 100 ms; this does it when the watcher has no other response. */
    while (etcd_model_stream_behind(s->watch)) {
        etcd_model_stream_sync(s->watch);
        if (etcd_model_stream_take(s->watch, &s->response))
            return true;
    }
    return false;
}

/* Needs the lock. Posts the stream's notice if there is a response to deliver; returns whether it did. */
static bool look(etcd_stream *s) {
    if (s->notice.posted || s->cancelled || s->paused || !next_response(s))
        return false;
    queue_post(s->queue, &s->notice);
    return true;
}

void streams_look(ew_client *client, const etcd_queue *later) {
    for (etcd_stream *s = client->streams; s; s = s->next)
        if (look(s) && s->queue != later)
            queue_signal(s->queue);
}

static void end(etcd_stream *s) {
    pthread_mutex_lock(&memory_lock);
    etcd_stream **link = &s->client->streams;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    etcd_model_stream_close(s->watch);
    pthread_mutex_unlock(&memory_lock);
    free(sim_unconst(s->response.data));
    s->callbacks.ended(s->arg, EW_ERR_CANCELLED, "");
    free(s);
}

static void tell(memory_notice *n) {
    etcd_stream *s = (etcd_stream *)n;
    if (s->cancelled) {
        end(s);
        return;
    }
    ew_slice response = {0};
    pthread_mutex_lock(&memory_lock);
    if (!s->paused) { /* otherwise it is delivered after etcd_stream_resume */
        response = s->response;
        s->response = (ew_slice){0};
    }
    pthread_mutex_unlock(&memory_lock);
    if (!response.data)
        return;
    s->callbacks.message(s->arg, response);
    free(sim_unconst(response.data));
    pthread_mutex_lock(&memory_lock);
    look(s);
    pthread_mutex_unlock(&memory_lock);
}

etcd_stream *etcd_stream_open(ew_client *client, etcd_queue *q, etcd_method method, etcd_stream_callbacks callbacks,
                              void *arg) {
    if (method != ETCD_WATCH)
        return NULL;
    etcd_stream *s = sim_alloc(sizeof *s);
    *s = (etcd_stream){.notice = {.run = tell}, .client = client, .queue = q, .callbacks = callbacks, .arg = arg};
    pthread_mutex_lock(&memory_lock);
    s->watch = etcd_model_stream_open(client->model);
    s->next = client->streams;
    client->streams = s;
    pthread_mutex_unlock(&memory_lock);
    return s;
}

int etcd_stream_send(etcd_stream *s, ew_slice message) {
    pthread_mutex_lock(&memory_lock);
    int status = etcd_model_stream_request(s->watch, message);
    look(s); /* no signal: this is the queue's own thread, which is awake */
    pthread_mutex_unlock(&memory_lock);
    return status;
}

void etcd_stream_pause(etcd_stream *s) {
    pthread_mutex_lock(&memory_lock);
    s->paused = true;
    pthread_mutex_unlock(&memory_lock);
}

void etcd_stream_resume(etcd_stream *s) {
    pthread_mutex_lock(&memory_lock);
    s->paused = false;
    look(s);
    pthread_mutex_unlock(&memory_lock);
}

/* Posts the last notice of the stream: none is posted after the cancel. */
void etcd_stream_cancel(etcd_stream *s) {
    pthread_mutex_lock(&memory_lock);
    s->cancelled = true;
    if (!s->notice.posted)
        queue_post(s->queue, &s->notice);
    pthread_mutex_unlock(&memory_lock);
}
