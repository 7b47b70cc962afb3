/* Feeds arbitrary input to what reads etcd's streams: the keepalives of a session, and a pulled watch. The linker
 * replaces the stream, the wait for it and the clock by the functions below, so hours take no time. It must not crash.
 * A lease is kept exactly as long as etcd said. A watch gives whole revisions in ascending order, each once, asks for
 * the next one, and reports its end again at each call. */
#include "etcd/connection.h"
#include "etcd/keepalive.h"
#include "input.h"

#include "core/check.h"
#include "core/unpack.h"

#include <stdio.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ew_client *client;

/* ---- the input ---- */

static input in;

/* A TTL may have any value, up to the limits of its type. */
static int64_t take_any(void) {
    uint8_t byte = take(&in);
    return byte == 251 ? LEASE_TTL_MAX_S : take_number_after(&in, byte);
}

static ew_slice take_bytes(void) {
    size_t len = take(&in);
    if (len > in.size)
        len = in.size;
    ew_slice bytes = {in.data, len};
    in.data += len;
    in.size -= len;
    return bytes;
}

/* ---- the clock ---- */

enum { LONG_AGO_MS = 1000000 };
static int64_t clock_ms;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now) {
    if (id == CLOCK_REALTIME) /* the fuzzer's own */
        return __real_clock_gettime(id, now);
    *now = (struct timespec){.tv_sec = clock_ms / 1000, .tv_nsec = clock_ms % 1000 * 1000000};
    return 0;
}

/* ---- etcd ---- */

struct etcd_stream {
    etcd_stream_callbacks callbacks;
    void *arg;
    bool open, paused, cancelled, sent;
};
static etcd_stream stream; /* one at a time */
static bool starved;       /* the next allocation fails */
static void (*on_send)(ew_slice message);

static bool is_starved(void) {
    bool was = starved;
    starved = false;
    return was;
}

etcd_stream *__wrap_etcd_stream_open(ew_client *c, etcd_queue *q, etcd_method method, etcd_stream_callbacks callbacks,
                                     void *arg);
int __wrap_etcd_stream_send(etcd_stream *s, ew_slice message);
void __wrap_etcd_stream_refuse_token(etcd_stream *s);
void __wrap_etcd_stream_pause(etcd_stream *s);
void __wrap_etcd_stream_resume(etcd_stream *s);
void __wrap_etcd_stream_cancel(etcd_stream *s);
etcd_queue *__wrap_etcd_loop_queue(const etcd_loop *l);
bool __wrap_stream_has_begun(const etcd_stream *s);

bool __wrap_stream_has_begun(const etcd_stream *s) {
    CHECK(s == &stream && s->open);
    return true;
}

void __wrap_identity_explain(ew_client *c, etcd_queue *q, etcd_method method, char *out, size_t size);

void __wrap_identity_explain(ew_client *c, etcd_queue *q, etcd_method method, char *out, size_t size) {
    (void)c, (void)q;
    CHECK(method == ETCD_WATCH);
    snprintf(out, size, "no connection");
}

etcd_call *__wrap_etcd_call_start(ew_client *c, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                                  etcd_answer_fn fn, void *arg);

/* A watch asks whether the revision fell. It gets no answer and asks again later. */
etcd_call *__wrap_etcd_call_start(ew_client *c, etcd_queue *q, etcd_method method, ew_slice request, int64_t timeout_ms,
                                  etcd_answer_fn fn, void *arg) {
    (void)c, (void)q, (void)request, (void)timeout_ms, (void)fn, (void)arg;
    CHECK(method == ETCD_RANGE);
    return NULL;
}

etcd_queue *__wrap_etcd_loop_queue(const etcd_loop *l) {
    (void)l;
    return NULL;
}

etcd_stream *__wrap_etcd_stream_open(ew_client *c, etcd_queue *q, etcd_method method, etcd_stream_callbacks callbacks,
                                     void *arg) {
    (void)c, (void)q, (void)method;
    CHECK(!stream.open);
    if (is_starved())
        return NULL;
    stream = (etcd_stream){.callbacks = callbacks, .arg = arg, .open = true};
    return &stream;
}

int __wrap_etcd_stream_send(etcd_stream *s, ew_slice message) {
    CHECK(s == &stream && s->open && !s->cancelled);
    if (is_starved())
        return EW_ERR_NO_MEMORY;
    on_send(message);
    s->sent = true;
    return EW_OK;
}

void __wrap_etcd_stream_refuse_token(etcd_stream *s) {
    CHECK(s == &stream && s->open);
}

void __wrap_etcd_stream_pause(etcd_stream *s) {
    CHECK(s == &stream && s->open);
    s->paused = true;
}

void __wrap_etcd_stream_resume(etcd_stream *s) {
    CHECK(s == &stream && s->open);
    s->paused = false;
}

void __wrap_etcd_stream_cancel(etcd_stream *s) {
    CHECK(s == &stream && s->open);
    s->cancelled = true;
}

static bool is_read(void) {
    return stream.open && !stream.paused && !stream.cancelled;
}

static void end_stream(void) {
    static const struct {
        int status;
        const char *detail;
    } ends[] = {
        {EW_ERR_UNAVAILABLE, "the server closed the stream"},
        {EW_ERR_CANCELLED, "cancelled"},
        {EW_ERR_UNAUTHENTICATED, "etcdserver: invalid auth token"},
        {EW_ERR_UNAUTHENTICATED, "authentication: etcdserver: authentication failed, invalid user ID or password"},
        {EW_ERR_DENIED, "etcdserver: permission denied"},
        {EW_ERR_TOO_LARGE, "received message larger than max"},
        {EW_ERR_UNSUPPORTED, ""},
        {EW_ERR_NO_MEMORY, "starting"},
    };
    size_t i = stream.cancelled ? 1 : take(&in) % (sizeof ends / sizeof ends[0]);
    stream.open = false;
    stream.callbacks.ended(stream.arg, ends[i].status, ends[i].detail);
}

/* Copies the bytes into a block of their size, so that a read past the end is detected. */
static void deliver(ew_slice bytes) {
    uint8_t *copy = malloc(bytes.len);
    CHECK(copy || bytes.len == 0);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    stream.callbacks.message(stream.arg, (ew_slice){copy, bytes.len});
    free(copy);
}

static void deliver_message(const ProtobufCMessage *m) {
    uint8_t bytes[4096];
    CHECK(protobuf_c_message_get_packed_size(m) <= sizeof bytes);
    deliver((ew_slice){bytes, protobuf_c_message_pack(m, bytes)});
}

static Pb__ResponseHeader take_header(void) {
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    uint8_t cluster = take(&in);
    header.cluster_id = cluster < 240 ? 1 : cluster % 3;
    header.revision = take_any();
    return header;
}

/* ---- a lease that is kept alive ---- */

enum { LEASE = 7 };

static struct {
    int64_t sent_ms, until_ms; /* etcd's promise: the lease lives until then */
    bool waiting, gone;
} lease;

static void on_keepalive(ew_slice message) {
    Pb__LeaseKeepAliveRequest *r = pb__lease_keep_alive_request__unpack(NULL, message.len, message.data);
    CHECK(r && r->id == LEASE);
    CHECK(!lease.waiting); /* one request at a time, so an answer belongs to that request */
    lease.waiting = true;
    lease.sent_ms = clock_ms;
    pb__lease_keep_alive_request__free_unpacked(r, NULL);
}

/* What the answer means for etcd. */
static bool take_answer(const Pb__LeaseKeepAliveResponse *r) {
    if (!lease.waiting || !keepalive_answers(r, LEASE) || r->header->cluster_id != 1)
        return false;
    if (r->ttl > 0) {
        lease.waiting = false;
        lease.until_ms = lease.sent_ms + r->ttl * 1000;
    } else {
        lease.gone = true;
    }
    return true;
}

static void answer_keepalive(bool noise) {
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    Pb__LeaseKeepAliveResponse made = PB__LEASE_KEEP_ALIVE_RESPONSE__INIT, *r;
    if (noise) {
        int status;
        ew_slice bytes = take_bytes();
        r = unpack_message(&pb__lease_keep_alive_response__descriptor, bytes, &status);
        bool good = take_answer(r);
        deliver(bytes);
        CHECK(good == !stream.cancelled);
        if (r)
            pb__lease_keep_alive_response__free_unpacked(r, NULL);
        return;
    }
    uint8_t kind = take(&in);
    header = take_header();
    made.header = kind % 16 == 1 ? NULL : &header;
    made.id = kind % 16 == 2 ? LEASE + 1 : LEASE;
    made.ttl = take_any();
    bool good = take_answer(&made);
    deliver_message(&made.base);
    CHECK(good == !stream.cancelled);
}

static void end_keepalive(void) {
    lease.waiting = false;
    end_stream();
}

/* One event; it may be only the passing of time. */
static void happens_to_lease(const keepalive *k) {
    switch (take(&in) % 8) {
    case 0:
        if (stream.open)
            end_keepalive();
        break;
    case 1:
        clock_ms += take_any() & 0xffff;
        break;
    case 2:
        starved = true;
        break;
    case 3:
        if (is_read())
            answer_keepalive(true);
        break;
    case 4:
    case 5:
        if (is_read())
            answer_keepalive(false);
        break;
    default:
        clock_ms = keepalive_deadline_ms(k);
    }
}

/* Like the session's thread: a step whenever one is due or an event has come. */
static void keep_lease(void) {
    etcd_task task = {0};
    int64_t ttl_s = 1 + take(&in);
    lease.until_ms = clock_ms + ttl_s * 1000;
    keepalive *k = keepalive_new(client, &task, LEASE, ttl_s, clock_ms);
    CHECK(k);
    for (;;) {
        bool over = keepalive_step(k);
        CHECK(over == (lease.gone || clock_ms >= lease.until_ms));
        if (over || in.size == 0)
            break;
        int64_t due_ms = keepalive_deadline_ms(k);
        CHECK(due_ms > clock_ms && due_ms <= lease.until_ms);
        happens_to_lease(k);
        CHECK(!lease.gone || keepalive_deadline_ms(k) == clock_ms);
    }
    keepalive_stop(k);
    CHECK(keepalive_stopped(k) == !stream.open);
    if (stream.open) {
        CHECK(stream.cancelled);
        end_keepalive();
    }
    CHECK(keepalive_stopped(k));
    keepalive_free(k);
}

/* ---- a watch ---- */

static struct {
    ew_watch *watch;     /* NULL until it is open */
    int64_t asked, seen; /* revisions: the last start that was asked for; what the user has */
    int64_t last;   /* the newest revision whose events the user has, from where a stream may be resumed; 0: none */
    int end;        /* the status of its end; EW_OK before that */
    int64_t oldest; /* after EW_ERR_COMPACTED */
    bool cancelled, withdrawn; /* by ew_watch_cancel; by ew_client_cancel during this wait */
    int64_t unfinished;        /* the revision that may continue in the next fragment; 0: none; INT64_MAX: unknown */
} pulled;

static volatile uint8_t sink;

static void read_bytes(ew_slice s) {
    for (size_t i = 0; i < s.len; i++)
        sink ^= ((const uint8_t *)s.data)[i];
}

static void on_watch_request(ew_slice message) {
    Pb__WatchRequest *r = pb__watch_request__unpack(NULL, message.len, message.data);
    CHECK(r && pulled.end == EW_OK);
    if (r->request_union_case == PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST) {
        int64_t start = r->create_request->start_revision;
        CHECK(!stream.sent && r->create_request->fragment);
        CHECK(start >= pulled.asked);
        CHECK(pulled.seen == 0 || start == pulled.seen + 1 || (start == pulled.last && pulled.last > 0));
        pulled.asked = start;
        pulled.unfinished = 0;
    } else {
        CHECK(stream.sent && r->request_union_case == PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST);
    }
    pb__watch_request__free_unpacked(r, NULL);
}

static Pb__KeyValue take_kv(void) {
    Pb__KeyValue kv = PB__KEY_VALUE__INIT;
    uint8_t kind = take(&in);
    kv.key = (ProtobufCBinaryData){kind % 32 == 1 ? 0 : 2, (uint8_t *)(uintptr_t) "/a"};
    kv.mod_revision = take_any();
    kv.create_revision = kind % 32 == 2 ? take_any() : kv.mod_revision;
    kv.version = kind % 32 == 3 ? take_any() : 1;
    return kv;
}

static void deliver_response(void) {
    enum { EVENTS_MAX = 7 };
    static const char *const reasons[] = {
        "",
        "etcdserver: no leader",
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        "etcdserver: mvcc: required revision has been compacted",
    };
    enum { CREATED = 1, CANCELED = 2, FRAGMENT = 4, OTHER_ID = 8, NO_HEADER = 16, PREVIOUS = 32 };
    Pb__WatchResponse m = PB__WATCH_RESPONSE__INIT;
    Pb__Event events[EVENTS_MAX], *list[EVENTS_MAX];
    Pb__KeyValue kvs[EVENTS_MAX], previous = PB__KEY_VALUE__INIT;
    uint8_t flags = take(&in);
    Pb__ResponseHeader header = take_header();
    m.header = (flags & NO_HEADER) != 0 ? NULL : &header;
    m.created = flags & CREATED;
    m.canceled = (flags & CANCELED) != 0;
    m.fragment = (flags & FRAGMENT) != 0;
    m.watch_id = (flags & OTHER_ID) != 0 ? take_any() : 0;
    if (m.canceled) {
        m.compact_revision = take_any();
        m.cancel_reason = (char *)(uintptr_t)reasons[take(&in) % (sizeof reasons / sizeof reasons[0])];
    }
    if ((flags & PREVIOUS) != 0)
        previous = take_kv();
    m.events = list;
    m.n_events = m.created || m.canceled ? 0 : take(&in) % (EVENTS_MAX + 1);
    for (size_t i = 0; i < m.n_events; i++) {
        pb__event__init(list[i] = &events[i]);
        kvs[i] = take_kv();
        events[i].kv = &kvs[i];
        events[i].type = take(&in) % 8 == 0 ? PB__EVENT__EVENT_TYPE__DELETE : PB__EVENT__EVENT_TYPE__PUT;
        events[i].prev_kv = (flags & PREVIOUS) != 0 ? &previous : NULL;
    }
    for (size_t i = 0; i < m.n_events; i++)
        pulled.unfinished = kvs[i].mod_revision > pulled.unfinished ? kvs[i].mod_revision : pulled.unfinished;
    if (!m.fragment && m.watch_id >= 0)
        pulled.unfinished = 0;
    deliver_message(&m.base);
}

/* The wait: one event, or the deadline. */
void __wrap_etcd_queue_run(etcd_queue *q, int64_t deadline_ms);
void __wrap_etcd_queue_wake(etcd_queue *q);

void __wrap_etcd_queue_run(etcd_queue *q, int64_t deadline_ms) {
    (void)q;
    bool exhausted = in.size == 0;
    uint8_t what = take(&in) % 16;
    if (stream.open && stream.cancelled) {
        end_stream();
    } else if (exhausted) {
        pulled.withdrawn = true;
        ew_client_cancel(client);
    } else if (what == 0 && stream.open) {
        end_stream();
    } else if (what == 1 && pulled.watch) {
        pulled.cancelled = true;
        ew_watch_cancel(pulled.watch);
    } else if (what == 2) {
        starved = true;
    } else if (what == 3 && is_read()) {
        pulled.unfinished = INT64_MAX;
        deliver(take_bytes());
    } else if (what < 12 && is_read()) {
        do /* what is ready together is delivered in one run */
            deliver_response();
        while (is_read() && take(&in) % 2 == 0 && in.size > 0);
    } else {
        CHECK(deadline_ms < INT64_MAX); /* a watch never waits without a deadline, because it must check its stream */
        clock_ms = deadline_ms > clock_ms ? deadline_ms : clock_ms;
    }
}

void __wrap_etcd_queue_wake(etcd_queue *q) {
    (void)q;
}

static void check_batch(const ew_watch_batch *b) {
    CHECK(b->revision > pulled.seen && b->revision < INT64_MAX);
    CHECK((b->count == 0) == (!b->events));
    CHECK(b->count == 0 || pulled.unfinished == 0 || b->revision < pulled.unfinished); /* whole revisions */
    CHECK(!stream.open || stream.paused || stream.cancelled); /* the next batch waits until the user asks for it */
    for (size_t i = 0; i < b->count; i++) {
        const ew_watch_event *e = &b->events[i];
        CHECK(e->kv.key.len > 0 && e->kv.mod_revision > pulled.seen && e->kv.mod_revision >= pulled.asked);
        CHECK(i == 0 || e->kv.mod_revision >= b->events[i - 1].kv.mod_revision);
        CHECK(i + 1 < b->count || e->kv.mod_revision == b->revision);
        read_bytes(e->kv.key);
        read_bytes(e->kv.value);
        if (e->has_previous)
            read_bytes(e->previous.key);
    }
    pulled.seen = b->revision;
    if (b->count > 0)
        pulled.last = b->revision;
}

static void check_end(int status, const ew_watch_batch *b) {
    CHECK(pulled.end == EW_OK || pulled.end == status);
    if (status == EW_ERR_COMPACTED) {
        CHECK(b->revision > 0);
        CHECK(pulled.end == EW_OK || pulled.oldest == b->revision);
        pulled.oldest = b->revision;
    }
    pulled.end = status;
}

static void next_batch(void) {
    static const int64_t timeouts_ms[] = {0, 10, 1000, 60000, 3600000, -1};
    int64_t timeout_ms = timeouts_ms[take(&in) % 6], began_ms = clock_ms;
    ew_watch_batch b;
    ew_error err = {0};
    pulled.withdrawn = false;
    int status = ew_watch_next(pulled.watch, timeout_ms, &b, &err);
    CHECK(status == EW_OK || (err.code == status && err.detail[0] != '\0'));
    if (status == EW_ERR_CANCELLED)
        CHECK((pulled.cancelled || pulled.withdrawn) && pulled.end == EW_OK);
    else if (status == EW_ERR_TIMEOUT)
        CHECK(timeout_ms >= 0 && clock_ms >= began_ms + timeout_ms && pulled.end == EW_OK);
    else if (status != EW_OK)
        check_end(status, &b);
    else
        check_batch(&b);
    CHECK(!pulled.cancelled || status != EW_OK);
}

static void pull_watch(void) {
    ew_error err = {0};
    ew_watch_options o = EW_WATCH_OPTIONS(.start_revision = take_any(), .previous = true, .progress = true);
    pulled.asked = o.start_revision;
    int status = ew_watch_open(&pulled.watch, client, ew_keys_prefix(EW_STR("/")), &o, &err);
    CHECK((status == EW_OK) == (pulled.watch != NULL));
    CHECK(status == EW_OK || (err.code == status && err.detail[0] != '\0'));
    CHECK(o.start_revision >= 0 || status == EW_ERR_INVALID);
    while (status == EW_OK && in.size > 0)
        next_batch();
    ew_watch_close(pulled.watch);
}

/* ---- both ---- */

static ew_client *open_client(void) {
    ew_client *c;
    ew_options *o = ew_options_new();
    CHECK(ew_options_set(o, "endpoints", "127.0.0.1:1", NULL) == EW_OK);
    CHECK(ew_client_open(&c, o, NULL) == EW_OK);
    ew_options_free(o);
    c->max_receive_bytes = 100; /* small, so that fragments are cut */
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!client)
        client = open_client();
    in.data = data;
    in.size = size;
    clock_ms = LONG_AGO_MS;
    memset(&stream, 0, sizeof stream);
    memset(&lease, 0, sizeof lease);
    memset(&pulled, 0, sizeof pulled);
    starved = false;
    atomic_store(&client->cluster_id, 1);
    bool watches = take(&in) % 2 == 0;
    on_send = watches ? on_watch_request : on_keepalive;
    if (watches)
        pull_watch();
    else
        keep_lease();
    CHECK(!stream.open);
    return 0;
}
