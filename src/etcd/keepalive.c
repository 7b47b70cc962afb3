#include "etcd/keepalive.h"
#include "etcd/backoff.h"
#include "etcd/connection.h"

#include "core/log.h"
#include "core/unpack.h"

#include <stdlib.h>
#include <time.h>

enum { ANSWER_MS = 10000 }; /* how long to wait for a response, unless a third of the TTL is less */

struct keepalive {
    ew_client *client;
    etcd_task *task; /* that it belongs to */
    int64_t lease;
    int64_t ttl_ms;
    int64_t alive_ms; /* when the last answered keepalive was sent: the lease lives for a TTL from then at least */
    int64_t sent_ms;  /* when the keepalive that is not answered yet was sent */
    int64_t next_ms;  /* when to send the next keepalive, to stop waiting for a response, or to open the stream again */
    etcd_stream *stream;
    backoff backoff;
    bool waiting;   /* for a response */
    bool cancelled; /* the stream was cancelled, because no valid response came */
    bool stopping;
    bool gone; /* etcd does not know the lease */
};

int64_t keepalive_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

keepalive *keepalive_new(ew_client *client, etcd_task *task, int64_t lease, int64_t ttl_s, int64_t granted_ms) {
    keepalive *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->client = client;
    k->task = task;
    k->lease = lease;
    k->ttl_ms = ttl_s * 1000;
    k->alive_ms = granted_ms;
    k->next_ms = granted_ms + k->ttl_ms / 3;
    backoff_init(&k->backoff, client->backoff_min_ms, client->backoff_max_ms);
    return k;
}

void keepalive_free(keepalive *k) {
    free(k);
}

bool keepalive_answers(const Pb__LeaseKeepAliveResponse *r, int64_t lease) {
    return r && r->header && r->header->cluster_id != 0 && r->header->revision >= 0 && r->id == lease &&
           r->ttl <= LEASE_TTL_MAX_S;
}

static void on_message(void *arg, ew_slice bytes) {
    keepalive *k = arg;
    etcd_task_due(k->task);
    int status;
    Pb__LeaseKeepAliveResponse *r = unpack_message(&pb__lease_keep_alive_response__descriptor, bytes, &status);
    if (!keepalive_answers(r, k->lease) || !k->waiting ||
        !connection_is_same_cluster(k->client, r->header->cluster_id)) {
        /* An unexpected response: such a stream cannot prove that the lease lives. */
        const char *what =
            status == EW_ERR_NO_MEMORY ? "no memory for a keepalive response" : "invalid keepalive response";
        log_fields(EW_LOG_WARN, &k->client->log, "session", what, {"lease", NULL, k->lease});
        k->cancelled = true;
        etcd_stream_cancel(k->stream);
    } else if (r->ttl <= 0) {
        k->gone = true; /* for an unknown lease etcd returns TTL 0 instead of an error */
    } else {
        k->ttl_ms = r->ttl * 1000;
        k->alive_ms = k->sent_ms;
        k->next_ms = k->sent_ms + k->ttl_ms / 3;
        k->waiting = false;
        backoff_reset(&k->backoff);
    }
    if (r)
        pb__lease_keep_alive_response__free_unpacked(r, NULL);
}

static void on_ended(void *arg, int status, const char *detail) {
    keepalive *k = arg;
    etcd_task_due(k->task);
    k->stream = NULL;
    k->waiting = false;
    k->cancelled = false;
    k->next_ms = keepalive_now_ms() + backoff_next_ms(&k->backoff);
    if (!k->stopping)
        log_fields(EW_LOG_DEBUG, &k->client->log, "session", "keepalive stream ended", {"error", ew_errname(status)},
                   {"detail", detail}, {"lease", NULL, k->lease});
}

static void open_and_send(keepalive *k, int64_t now_ms) {
    Pb__LeaseKeepAliveRequest request = PB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    uint8_t bytes[32];
    request.id = k->lease;
    ew_slice packed = {bytes, pb__lease_keep_alive_request__pack(&request, bytes)};
    if (!k->stream)
        k->stream = etcd_stream_open(k->client, etcd_loop_queue(k->task->loop), ETCD_LEASE_KEEP_ALIVE,
                                     (etcd_stream_callbacks){on_message, on_ended}, k);
    /* Without a response until then, the stream is opened again, perhaps to another member. */
    k->next_ms = now_ms + (k->ttl_ms / 3 < ANSWER_MS ? k->ttl_ms / 3 : ANSWER_MS);
    if (!k->stream || etcd_stream_send(k->stream, packed) != EW_OK)
        return; /* out of memory: tried again at next_ms, until the lease expires */
    k->waiting = true;
    k->sent_ms = now_ms;
}

void keepalive_ask(keepalive *k) {
    if (!k->waiting && !k->cancelled)
        k->next_ms = keepalive_now_ms();
}

bool keepalive_step(keepalive *k) {
    int64_t now_ms = keepalive_now_ms();
    if (k->gone || now_ms >= k->alive_ms + k->ttl_ms)
        return true;
    if (now_ms < k->next_ms || k->cancelled)
        return false;
    if (k->waiting) {
        k->cancelled = true;
        etcd_stream_cancel(k->stream);
    } else {
        open_and_send(k, now_ms);
    }
    return false;
}

int64_t keepalive_deadline_ms(const keepalive *k) {
    int64_t due_ms = k->alive_ms + k->ttl_ms;
    if (!k->cancelled && k->next_ms < due_ms)
        due_ms = k->next_ms;
    if (k->gone)
        due_ms = 0;
    int64_t wait_ms = due_ms - keepalive_now_ms();
    return etcd_now_ms() + (wait_ms > 0 ? wait_ms : 0);
}

void keepalive_stop(keepalive *k) {
    k->stopping = true;
    if (k->stream)
        etcd_stream_cancel(k->stream);
}

bool keepalive_stopped(const keepalive *k) {
    return !k->stream;
}
