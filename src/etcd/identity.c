#include "etcd/identity.h"
#include "etcd/bytes.h"
#include "etcd/handshake.h"
#include "etcd/reason.h"

#include "core/deadline.h"
#include "core/log.h"
#include "core/unpack.h"

#include "etcd.pb-c.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* How long an identity query may take. */
#define ASK_MS 2000
/* How long endpoints that neither answer nor refuse can delay the first call; never more than half of its time. */
#define ASK_ALL_MS 2000
/* How long the queries of inquiry_new_why may take. */
#define WHY_MS 500
/* How long the handshakes without gRPC may take, and how often to check whether they are done. */
#define HANDSHAKES_MS      1000
#define HANDSHAKES_LOOK_MS 10
/* How often identity_greet makes unconnected backends connect, and how long that may take. */
#define GREET_MS 1000

/* One identity query: a call of MemberList. */
typedef struct question {
    queue_tag tag; /* first */
    inquiry *all;
    backend *to;
    const target *target;
    unsigned seen; /* backend_seen before the query */
    grpc_call *call;
    grpc_metadata metadata[CONNECTION_METADATA_MAX];
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *sending, *answer;
    grpc_status_code code;
    grpc_slice text;
    uint64_t cluster; /* the cluster in the response; 0: none */
    bool starved;     /* no memory to unpack the response */
} question;

struct inquiry {
    queue_tag tag;               /* first: for the wait for handshakes */
    queue_background background; /* for identity_greet */
    ew_client *client;
    connection_set *set;
    connection kind;
    etcd_queue *queue;
    grpc_slice token;
    bool why; /* made by inquiry_new_why */
    inquiry_fn fn;
    void *arg;
    size_t count;
    atomic_size_t open;
    question *asked; /* the backend that the caller wants to use */
    handshakes *handshakes;
    int64_t handshakes_ms; /* their deadline */
    question list[];
};

/* ---- the responses ---- */

/* Only the header of the response is read. CompactionResponse is the message that has only a header. */
static uint64_t read_cluster(question *q) {
    bytes_view view;
    int status = EW_OK;
    uint64_t id = 0;
    if (q->code != GRPC_STATUS_OK || !q->answer || !bytes_view_init(&view, q->answer))
        return 0;
    Pb__CompactionResponse *r = unpack_message(&pb__compaction_response__descriptor, view.bytes, &status);
    q->starved = status == EW_ERR_NO_MEMORY;
    if (r && r->header)
        id = r->header->cluster_id;
    if (r)
        pb__compaction_response__free_unpacked(r, NULL);
    bytes_view_fini(&view);
    return id;
}

static size_t count_of(const inquiry *i, uint64_t cluster) {
    size_t n = 0;
    for (size_t k = 0; k < i->count; k++)
        n += i->list[k].cluster != 0 && (cluster == 0 || i->list[k].cluster == cluster);
    return n;
}

/* Returns the cluster of more than half of the endpoints that answered; 0 if there is none. */
static uint64_t majority(const inquiry *i) {
    uint64_t found = 0;
    for (size_t k = 0; k < i->count && found == 0; k++) {
        if (i->list[k].cluster != 0 && 2 * count_of(i, i->list[k].cluster) > count_of(i, 0))
            found = i->list[k].cluster;
    }
    return found;
}

static void log_other_cluster(const inquiry *i, const question *q, uint64_t ours) {
    char theirs[20], expected[20];
    snprintf(theirs, sizeof theirs, "%llx", (unsigned long long)q->cluster);
    snprintf(expected, sizeof expected, "%llx", (unsigned long long)ours);
    log_fields(EW_LOG_ERROR, &i->client->log, "etcd", "the endpoint belongs to another cluster and is not used",
               {"endpoint", q->target->shown}, {"cluster", theirs}, {"expected", expected},
               {"endpoints", i->client->endpoints});
}

static void judge(const inquiry *i, const question *q, uint64_t ours) {
    if (q->cluster == ours) {
        atomic_store(&q->to->other_cluster, 0);
        atomic_store(&i->client->refused, false);
    } else if (atomic_exchange(&q->to->other_cluster, q->cluster) != q->cluster) {
        log_other_cluster(i, q, ours);
    }
    backend_settle(q->to, i->kind, q->seen, q->cluster == ours ? MEMBERSHIP_OURS : MEMBERSHIP_OTHER_CLUSTER);
}

/* ---- the result ---- */

/* Returns the cluster in the response; without one, the other cluster that the endpoint named last. 0: neither. */
static unsigned long long cluster_of(const question *q) {
    return q->cluster != 0 ? q->cluster : atomic_load(&q->to->other_cluster);
}

static void add_clusters(const inquiry *i, reason_list *l) {
    for (size_t k = 0; k < i->count; k++) {
        char text[48];
        snprintf(text, sizeof text, "cluster %llx", (unsigned long long)i->list[k].cluster);
        if (i->list[k].cluster != 0)
            reason_add(l, i->list[k].target->shown, text);
    }
}

/* Returns the client's cluster; 0 if it cannot be decided. */
static uint64_t decide(const inquiry *i) {
    uint64_t ours = 0, found = majority(i);
    if (found == 0 || atomic_compare_exchange_strong(&i->client->cluster_id, &ours, found))
        return found;
    return ours; /* another thread was faster */
}

static int status_of(const question *q, char *text, size_t size) {
    bytes_text(q->text, text, size);
    return method_status(ETCD_MEMBER_LIST, &(method_end){.code = q->code, .text = text});
}

static int fail_unanswered(const question *q, char *text, size_t size) {
    int status = status_of(q, text, size);
    if (q->starved)
        return EW_ERR_UNAVAILABLE; /* temporary */
    if (q->code == GRPC_STATUS_OK) {
        snprintf(text, size, "member list: response without a cluster id");
        return EW_ERR_BAD_ANSWER;
    }
    return status == EW_ERR_CANCELLED ? EW_ERR_UNAVAILABLE : status;
}

/* Newer releases of etcd answer only authenticated users (ETCD P15). */
static bool is_for_users(const question *q) {
    char text[512];
    int status = status_of(q, text, sizeof text);
    return status == EW_ERR_UNAUTHENTICATED || status == EW_ERR_DENIED;
}

/* Returns whether the endpoint refused the query because of its token: the query had none, or one that the endpoint
 * does not know. An endpoint of another cluster is not asked with a token, unless there is no other endpoint. */
static bool wants_token(const inquiry *i, const question *q) {
    char text[512];
    if (q->cluster != 0 || !auth_is_on(&i->client->auth) || status_of(q, text, sizeof text) != EW_ERR_UNAUTHENTICATED)
        return false;
    return atomic_load(&q->to->other_cluster) == 0 ||
           backends_are_of_other_clusters(i->set->backends, i->set->targets.count);
}

/* Returns a query that must be repeated with another token before the inquiry can have a result; NULL if there is none.
 * While the client's cluster is not decided, an endpoint that answers everybody must not outvote those that answer only
 * users. */
static const question *find_refused(const inquiry *i, uint64_t ours) {
    if (wants_token(i, i->asked))
        return i->asked;
    bool complete = ours != 0 || (GRPC_SLICE_LENGTH(i->token) > 0 && majority(i) != 0);
    for (size_t k = 0; k < i->count && !complete; k++) {
        if (wants_token(i, &i->list[k]))
            return &i->list[k];
    }
    return NULL;
}

/* Returns the membership of an endpoint that does not name its cluster to this client: OTHER_CLUSTER if it named
 * another cluster before, otherwise ours. The response of the following call names the cluster. */
static membership presume(const question *q) {
    return atomic_load(&q->to->other_cluster) != 0 ? MEMBERSHIP_OTHER_CLUSTER : MEMBERSHIP_OURS;
}

static int conclude(const inquiry *i, char *text, size_t size) {
    uint64_t ours = atomic_load(&i->client->cluster_id);
    reason_list reasons = {.out = text, .size = size};
    text[0] = '\0';
    const question *refused = find_refused(i, ours);
    if (refused)
        return status_of(refused, text, size);
    if (ours == 0)
        ours = decide(i);
    if (ours == 0 && count_of(i, 0) > 0) {
        reason_begin(&reasons, "the endpoints belong to different clusters");
        add_clusters(i, &reasons);
        return EW_ERR_WRONG_CLUSTER;
    }
    for (size_t k = 0; k < i->count; k++) {
        const question *q = &i->list[k];
        if (q->cluster != 0)
            judge(i, q, ours);
        else if (is_for_users(q) && !wants_token(i, q))
            backend_settle(q->to, i->kind, q->seen, presume(q));
    }
    if (i->asked->cluster == 0 && !is_for_users(i->asked))
        return fail_unanswered(i->asked, text, size);
    if (!backends_are_of_other_clusters(i->set->backends, i->set->targets.count))
        return EW_OK;
    snprintf(text, size, "%s is cluster %llx, not %llx", i->asked->target->shown, cluster_of(i->asked),
             (unsigned long long)ours);
    return EW_ERR_WRONG_CLUSTER;
}

/* ---- why there is no connection ---- */

static bool add_reason(const inquiry *i, const question *q, reason_list *l) {
    char text[512];
    if (q->cluster != 0 && q->cluster == atomic_load(&i->client->cluster_id)) {
        reason_add(l, q->target->shown, "answers now");
        return false;
    }
    unsigned long long cluster = cluster_of(q);
    if (cluster != 0) {
        snprintf(text, sizeof text, "cluster %llx, not %llx", cluster,
                 (unsigned long long)atomic_load(&i->client->cluster_id));
        reason_add(l, q->target->shown, text);
        return true;
    }
    if (is_for_users(q)) {
        reason_add(l, q->target->shown, "answers now");
        return false;
    }
    bytes_text(q->text, text, sizeof text);
    const char *found = i->handshakes ? handshakes_result(i->handshakes, (size_t)(q - i->list)) : "";
    if (found[0])
        snprintf(text, sizeof text, "%s", found);
    bool final = reason_is_final(text);
    reason_add(l, q->target->shown, reason_shorten(text));
    return final;
}

static void explain(const inquiry *i, char *text, size_t size) {
    reason_list l = {.out = text, .size = size};
    bool final = i->count > 0 && i->set->targets.unknown[0] == '\0';
    reason_begin(&l, "no connection");
    for (size_t k = 0; k < i->count; k++)
        final &= add_reason(i, &i->list[k], &l);
    if (i->set->targets.unknown[0])
        reason_add(&l, NULL, i->set->targets.unknown);
    /* Where a connection was made and then closed, new certificates may help. */
    bool renewed = i->handshakes && connection_renew(i->client);
    atomic_store(&i->client->refused, final && !renewed);
}

/* ---- asking ---- */

static void free_question(question *q) {
    grpc_call_unref(q->call);
    if (q->sending)
        grpc_byte_buffer_destroy(q->sending);
    if (q->answer)
        grpc_byte_buffer_destroy(q->answer);
    grpc_metadata_array_destroy(&q->initial);
    grpc_metadata_array_destroy(&q->trailing);
    grpc_slice_unref(q->text);
}

static void free_inquiry(inquiry *i) {
    handshakes_give(i->handshakes);
    for (size_t k = 0; k < i->count; k++)
        free_question(&i->list[k]);
    grpc_slice_unref(i->token);
    connection_give(i->set);
    free(i);
}

/* If the endpoint rejected the token, or did not answer a query that had one, the next query of this kind is put off:
 * only calls and streams make another token. */
static void finish_greeting(inquiry *i, int status) {
    bool unanswered = status == EW_ERR_TIMEOUT && GRPC_SLICE_LENGTH(i->token) > 0;
    if (status == EW_ERR_UNAUTHENTICATED || unanswered)
        backend_put_off(i->asked->to, i->kind);
    queue_leave_background(i->queue, &i->background);
}

static void finish(inquiry *i) {
    char text[256];
    int status = EW_ERR_UNAVAILABLE;
    if (i->why)
        explain(i, text, sizeof text);
    else
        status = conclude(i, text, sizeof text);
    if (i->fn)
        i->fn(i->arg, status, text);
    else
        finish_greeting(i, status);
    free_inquiry(i);
}

/* ---- handshakes without gRPC ---- */

static void look_at_handshakes(inquiry *i);

static void on_looked(queue_tag *tag, bool ok) {
    (void)ok;
    inquiry *i = (inquiry *)tag;
    if (handshakes_are_done(i->handshakes) || etcd_now_ms() >= i->handshakes_ms)
        finish(i);
    else
        look_at_handshakes(i);
}

static void look_at_handshakes(inquiry *i) {
    grpc_channel *nowhere = i->set->nowhere; /* used as a timer: a lame channel never changes its state */
    i->tag.done = on_looked;
    queue_watch(i->queue, nowhere, grpc_channel_check_connectivity_state(nowhere, 0),
                etcd_now_ms() + HANDSHAKES_LOOK_MS, &i->tag);
}

/* Starts handshakes with the endpoints whose reason is not clear. False: there are none, or no memory or thread. */
static bool start_handshakes(inquiry *i) {
    bool any = false, *wanted = calloc(i->count, sizeof *wanted);
    for (size_t k = 0; wanted && k < i->count; k++) {
        char text[512];
        bytes_text(i->list[k].text, text, sizeof text);
        wanted[k] = i->list[k].cluster == 0 && reason_is_unclear(text);
        any |= wanted[k];
    }
    if (any)
        i->handshakes = handshakes_start(&i->set->targets, wanted, i->client->config.tls, i->client->options);
    free(wanted);
    i->handshakes_ms = etcd_now_ms() + HANDSHAKES_MS;
    return i->handshakes != NULL;
}

static void on_answered(queue_tag *tag, bool ok) {
    (void)ok; /* the status says more */
    question *q = (question *)tag;
    inquiry *i = q->all;
    q->cluster = read_cluster(q);
    if (atomic_fetch_sub(&i->open, 1) > 1)
        return;
    if (i->why && start_handshakes(i))
        look_at_handshakes(i);
    else
        finish(i);
}

static void prepare(inquiry *i, question *q, size_t which, int64_t until_ms) {
    q->tag.done = on_answered;
    q->all = i;
    q->to = &i->set->backends[which];
    q->target = &i->set->targets.list[which];
    q->seen = backend_seen(q->to, i->kind);
    q->text = grpc_empty_slice();
    grpc_metadata_array_init(&q->initial);
    grpc_metadata_array_init(&q->trailing);
    q->call = grpc_channel_create_registered_call(q->to->channels[i->kind], NULL, 0, queue_of(i->queue),
                                                  q->to->questions[i->kind], queue_time(until_ms), NULL);
}

static inquiry *make(ew_client *client, connection_set *set, etcd_method method, etcd_queue *q, size_t count) {
    inquiry *i = calloc(1, sizeof *i + count * sizeof i->list[0]);
    if (!i)
        return NULL;
    atomic_fetch_add(&set->users, 1);
    i->client = client;
    i->set = set;
    i->kind = backend_connection(method);
    i->queue = q;
    i->token = grpc_empty_slice();
    i->count = count;
    return i;
}

static inquiry *make_for_all(ew_client *client, connection_set *set, etcd_method method, etcd_queue *q,
                             int64_t until_ms) {
    inquiry *i = make(client, set, method, q, set->targets.count);
    for (size_t k = 0; i && k < i->count; k++)
        prepare(i, &i->list[k], k, until_ms);
    return i;
}

static int64_t half_way(int64_t until_ms) {
    int64_t now_ms = etcd_now_ms();
    return now_ms + (until_ms - now_ms) / 2;
}

inquiry *inquiry_new(ew_client *client, connection_set *set, int which, etcd_method method, etcd_queue *q,
                     grpc_slice token, int64_t until_ms) {
    bool all = set->targets.count > 1 && atomic_load(&client->cluster_id) == 0;
    inquiry *i =
        all ? make_for_all(client, set, method, q, deadline_earlier(half_way(until_ms), etcd_now_ms() + ASK_ALL_MS))
            : make(client, set, method, q, 1);
    if (!i)
        return NULL;
    if (!all)
        prepare(i, &i->list[0], (size_t)which, deadline_earlier(until_ms, etcd_now_ms() + ASK_MS));
    i->asked = &i->list[all ? which : 0];
    i->token = grpc_slice_ref(token);
    return i;
}

inquiry *inquiry_new_why(ew_client *client, connection_set *set, etcd_method method, etcd_queue *q) {
    if (set->targets.count == 0)
        return NULL;
    inquiry *i = make_for_all(client, set, method, q, etcd_now_ms() + WHY_MS);
    if (i)
        i->why = true;
    return i;
}

static void start(inquiry *i, question *q, uint32_t flags) {
    grpc_slice empty = grpc_empty_slice();
    q->sending = grpc_raw_byte_buffer_create(&empty, 1);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = flags},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = q->sending},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &q->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &q->answer},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
    };
    ops[0].data.send_initial_metadata.count = connection_metadata(ETCD_MEMBER_LIST, i->token, q->metadata);
    ops[0].data.send_initial_metadata.metadata = q->metadata;
    ops[5].data.recv_status_on_client.trailing_metadata = &q->trailing;
    ops[5].data.recv_status_on_client.status = &q->code;
    ops[5].data.recv_status_on_client.status_details = &q->text;
    queue_start(q->call, ops, 6, &q->tag);
}

/* The queue's thread may handle the first responses while the last query is being sent; after the last response the
 * inquiry is freed. So `i` must not be used after the loop. */
void inquiry_start(inquiry *i, inquiry_fn fn, void *arg) {
    size_t count = i->count;
    i->fn = fn;
    i->arg = arg;
    atomic_store(&i->open, count);
    for (size_t k = 0; k < count; k++)
        start(i, &i->list[k], 0);
}

static void cancel_greeting(queue_background *work) {
    inquiry_cancel((inquiry *)(void *)((char *)work - offsetof(inquiry, background)));
}

/* Sends a query that waits for the connection: its purpose is to make the channel connect. */
static void greet(ew_client *client, connection_set *set, size_t which, etcd_method method, etcd_queue *q,
                  grpc_slice token) {
    enum { WAIT = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET };
    inquiry *i = make(client, set, method, q, 1);
    if (!i)
        return;
    prepare(i, &i->list[0], which, etcd_now_ms() + GREET_MS);
    i->asked = &i->list[0];
    i->token = grpc_slice_ref(token);
    i->background.cancel = cancel_greeting;
    atomic_store(&i->open, 1);
    queue_enter_background(q, &i->background);
    start(i, &i->list[0], WAIT);
}

void identity_greet(ew_client *client, connection_set *set, int which, etcd_method method, etcd_queue *q,
                    grpc_slice token) {
    connection kind = backend_connection(method);
    int64_t now_ms = etcd_now_ms(), due_ms = atomic_load(&set->greet_ms[kind]);
    if (set->targets.count == 1 || now_ms < due_ms || atomic_load(&client->cluster_id) == 0 ||
        !atomic_compare_exchange_strong(&set->greet_ms[kind], &due_ms, now_ms + GREET_MS))
        return;
    for (size_t k = 0; k < set->targets.count; k++) {
        if (k != (size_t)which && backend_is_missing(&set->backends[k], kind))
            greet(client, set, k, method, q, token);
    }
}

void inquiry_cancel(inquiry *i) {
    for (size_t k = 0; k < i->count; k++)
        grpc_call_cancel(i->list[k].call, NULL);
}

/* ---- blocking ---- */

typedef struct explanation {
    bool here;
    char *out;
    size_t size;
} explanation;

static void on_explained(void *arg, int status, const char *detail) {
    (void)status;
    explanation *e = arg;
    snprintf(e->out, e->size, "%s", detail);
    e->here = true;
}

void identity_explain(ew_client *client, etcd_queue *q, etcd_method method, char *out, size_t size) {
    explanation e = {.out = out, .size = size};
    connection_set *set = connection_take(client);
    inquiry *i = inquiry_new_why(client, set, method, q);
    if (i)
        inquiry_start(i, on_explained, &e);
    else
        snprintf(out, size, "no connection to %s: %s", client->endpoints, set->targets.unknown);
    while (i && !e.here)
        etcd_queue_run(q, INT64_MAX);
    connection_give(set);
}
