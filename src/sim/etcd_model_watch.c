/* Watches: synced ones get each revision when it is committed, the others catch up in batches. */
#include "sim/etcd_model_internal.h"

#include "core/slice.h"

#include <stdlib.h>

typedef struct watch {
    int64_t id;
    ew_slice key, range_end;
    int64_t next; /* the first revision that it has not got yet */
    int64_t lost; /* how many of the next revisions it skips (P6) */
    bool synced, progress_notify, fragment, prev_kv, no_put, no_delete;
} watch;

typedef struct queued {
    ew_slice bytes;
    bool control; /* created, cancelled and requested progress have their own queue, which is served first */
} queued;

struct etcd_model_stream {
    etcd_model *model;
    etcd_model_stream *next;
    watch *watches;
    size_t watch_count, watch_capacity;
    int64_t next_id;
    queued *queue;
    size_t queue_head, queue_tail, queue_capacity;
    bool progress_wanted;
};

/* ---- the queue of responses ---- */

static void push(etcd_model_stream *s, ew_slice bytes, bool control) {
    if (s->queue_head == s->queue_tail)
        s->queue_head = s->queue_tail = 0;
    sim_reserve(s->queue, s->queue_capacity, s->queue_tail + 1);
    size_t at = s->queue_tail;
    if (control)
        for (at = s->queue_head; at < s->queue_tail && s->queue[at].control; at++)
            ;
    memmove(s->queue + at + 1, s->queue + at, (s->queue_tail++ - at) * sizeof *s->queue);
    s->queue[at] = (queued){bytes, control};
}

static void enqueue_sized(etcd_model_stream *s, const Pb__WatchResponse *response, size_t size, bool control) {
    uint8_t *bytes = sim_alloc(size);
    pb__watch_response__pack(response, bytes);
    push(s, (ew_slice){bytes, size}, control);
}

static void enqueue(etcd_model_stream *s, const Pb__WatchResponse *response, bool control) {
    enqueue_sized(s, response, pb__watch_response__get_packed_size(response), control);
}

bool etcd_model_stream_take(etcd_model_stream *s, ew_slice *response) {
    if (s->queue_head == s->queue_tail)
        return false;
    *response = s->queue[s->queue_head++].bytes;
    return true;
}

static bool is_full(const etcd_model_stream *s) {
    return s->queue_tail - s->queue_head >= s->model->config.queue_responses;
}

/* Returns the bytes that one more event adds to a response: a tag, the length, and the event. */
static size_t event_bytes(const Pb__Event *e) {
    size_t size = pb__event__get_packed_size(e), length = 1;
    for (size_t rest = size; rest >= 0x80; rest >>= 7)
        length++;
    return 1 + length + size;
}

/* Splits a response as etcd's sendFragments: the fragments share the header, and all but the last have `fragment` set
 * (P3). A fragment takes events as long as it stays below the limit, and at least one. */
static void enqueue_events(etcd_model_stream *s, const watch *w, Pb__WatchResponse *whole) {
    size_t limit = s->model->config.fragment_bytes, size = pb__watch_response__get_packed_size(whole);
    if (!w->fragment || whole->n_events < 2 || size < limit) {
        enqueue_sized(s, whole, size, false);
        return;
    }
    Pb__WatchResponse piece = *whole;
    piece.n_events = 0;
    const size_t frame = pb__watch_response__get_packed_size(&piece);
    for (size_t from = 0; from < whole->n_events;) {
        piece.events = whole->events + from;
        piece.n_events = 1;
        for (size_t bytes = frame + event_bytes(piece.events[0]); from + piece.n_events < whole->n_events;) {
            bytes += event_bytes(piece.events[piece.n_events]);
            if (bytes >= limit)
                break;
            piece.n_events++;
        }
        from += piece.n_events;
        piece.fragment = from < whole->n_events;
        enqueue(s, &piece, false);
    }
}

/* ---- events ---- */

static bool in_range(const watch *w, ew_slice key) {
    if (w->range_end.len == 0)
        return ew_slice_equal(w->key, key);
    bool open = w->range_end.len == 1 && *(const char *)w->range_end.data == 0;
    return slice_compare(key, w->key) >= 0 && (open || slice_compare(key, w->range_end) < 0);
}

static bool concerns(const watch *w, const etcd_model_record *r) {
    return in_range(w, r->key) && !(r->deleted ? w->no_delete : w->no_put);
}

static bool revision_concerns(const etcd_model *m, const watch *w, int64_t revision) {
    for (size_t i = m->firsts[revision]; i < m->firsts[revision + 1]; i++)
        if (concerns(w, &m->records[i]))
            return true;
    return false;
}

static Pb__Event *make_event(etcd_model *m, const watch *w, const etcd_model_record *r) {
    Pb__Event *e = sim_arena_alloc(&m->arena, sizeof *e);
    pb__event__init(e);
    e->type = r->deleted ? PB__EVENT__EVENT_TYPE__DELETE : PB__EVENT__EVENT_TYPE__PUT;
    e->kv = model_kv(m, r, false); /* a deletion's record only has its key and revision, as in etcd */
    if (w->prev_kv && r->mod_revision > m->compacted) {
        const etcd_model_record *before = etcd_model_get(m, r->key, r->mod_revision - 1);
        if (before)
            e->prev_kv = model_kv(m, before, false);
    }
    return e;
}

/* Queues the events of [from, to] for the watch in one response, if there are any. */
static void give(etcd_model_stream *s, watch *w, int64_t from, int64_t to, int64_t header_revision) {
    etcd_model *m = s->model;
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    size_t most = m->firsts[to + 1] - m->firsts[from];
    response.events = sim_arena_alloc(&m->arena, (most + 1) * sizeof *response.events);
    for (size_t i = m->firsts[from]; i < m->firsts[to + 1]; i++)
        if (concerns(w, &m->records[i]))
            response.events[response.n_events++] = make_event(m, w, &m->records[i]);
    if (response.n_events == 0)
        return;
    response.header = model_header(m, header_revision);
    response.watch_id = w->id;
    enqueue_events(s, w, &response);
}

/* The watch that got the newest revision last, and in how many responses: they are the last ones of its stream. */
typedef struct told {
    const watch *watch; /* NULL: none yet */
    const etcd_model_stream *stream;
    size_t count;
} told;

static bool asks_the_same(const watch *a, const watch *b) {
    return a->id == b->id && a->fragment == b->fragment && a->prev_kv == b->prev_kv && a->no_put == b->no_put &&
           a->no_delete == b->no_delete && ew_slice_equal(a->key, b->key) && ew_slice_equal(a->range_end, b->range_end);
}

/* Watches with the same request get the same bytes, which are packed only once. */
static void give_newest(etcd_model_stream *s, watch *w, told *last) {
    if (last->watch && last->stream != s && asks_the_same(last->watch, w)) {
        for (size_t i = last->stream->queue_tail - last->count; i < last->stream->queue_tail; i++)
            push(s, sim_copy(last->stream->queue[i].bytes), false);
        return;
    }
    int64_t newest = s->model->revision;
    size_t before = s->queue_tail - s->queue_head;
    give(s, w, newest, newest, newest);
    *last = (told){w, s, s->queue_tail - s->queue_head - before};
}

void model_notify(etcd_model *m) {
    told last = {0};
    for (etcd_model_stream *s = m->streams; s; s = s->next) {
        for (size_t i = 0; i < s->watch_count; i++) {
            watch *w = &s->watches[i];
            if (!w->synced || m->revision < w->next)
                continue;
            if (is_full(s) && revision_concerns(m, w, m->revision)) {
                w->next = m->revision;
                w->synced = false;
                continue;
            }
            w->next = m->revision + 1;
            if (w->lost > 0 && revision_concerns(m, w, m->revision))
                w->lost--;
            else
                give_newest(s, w, &last);
        }
    }
}

/* ---- a stream's life ---- */

etcd_model_stream *etcd_model_stream_open(etcd_model *m) {
    etcd_model_stream *s = sim_alloc(sizeof *s);
    s->model = m;
    s->next = m->streams;
    m->streams = s;
    return s;
}

static void remove_watch(etcd_model_stream *s, size_t i) {
    free(sim_unconst(s->watches[i].key.data));
    free(sim_unconst(s->watches[i].range_end.data));
    memmove(s->watches + i, s->watches + i + 1, (--s->watch_count - i) * sizeof *s->watches);
}

void etcd_model_stream_close(etcd_model_stream *s) {
    etcd_model_stream **link = &s->model->streams;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    while (s->watch_count)
        remove_watch(s, s->watch_count - 1);
    ew_slice left;
    while (etcd_model_stream_take(s, &left))
        free(sim_unconst(left.data));
    free(s->watches);
    free(s->queue);
    free(s);
}

static bool has_filter(const Pb__WatchCreateRequest *r, Pb__WatchCreateRequest__FilterType filter) {
    for (size_t i = 0; i < r->n_filters; i++)
        if (r->filters[i] == filter)
            return true;
    return false;
}

static void create_watch(etcd_model_stream *s, const Pb__WatchCreateRequest *r) {
    etcd_model *m = s->model;
    sim_reserve(s->watches, s->watch_capacity, s->watch_count + 1);
    watch *w = &s->watches[s->watch_count++];
    *w = (watch){
        .id = r->watch_id ? r->watch_id : s->next_id++,
        .key = sim_copy(r->key.len ? slice_of(r->key) : (ew_slice){"", 1}), /* no key: from the first key on */
        .range_end = sim_copy(slice_of(r->range_end)),
        .next = r->start_revision ? r->start_revision : m->revision + 1,
        .synced = r->start_revision == 0 || r->start_revision > m->revision,
        .progress_notify = r->progress_notify,
        .fragment = r->fragment,
        .prev_kv = r->prev_kv,
        .no_put = has_filter(r, PB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT),
        .no_delete = has_filter(r, PB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE),
    };
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    response.header = model_header(m, m->revision);
    response.watch_id = w->id;
    response.created = true;
    enqueue(s, &response, true);
}

static void cancel_watch(etcd_model_stream *s, int64_t id) {
    for (size_t i = 0; i < s->watch_count; i++) {
        if (s->watches[i].id != id)
            continue;
        remove_watch(s, i);
        Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
        response.header = model_header(s->model, s->model->revision);
        response.watch_id = id;
        response.canceled = true;
        enqueue(s, &response, true);
        return;
    }
}

bool etcd_model_stream_behind(const etcd_model_stream *s) {
    for (size_t i = 0; i < s->watch_count; i++)
        if (!s->watches[i].synced)
            return true;
    return false;
}

static void answer_progress(etcd_model_stream *s) {
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    response.header = model_header(s->model, s->model->revision);
    response.watch_id = -1;
    enqueue(s, &response, s->model->config.progress_overtakes);
    s->progress_wanted = false;
}

int etcd_model_stream_request(etcd_model_stream *s, ew_slice request) {
    etcd_model *m = s->model;
    sim_arena_reset(&m->arena);
    const Pb__WatchRequest *r = pb__watch_request__unpack(&m->arena.allocator, request.len, request.data);
    if (!r)
        return EW_ERR_INVALID;
    switch (r->request_union_case) {
    case PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create_watch(s, r->create_request);
        return EW_OK;
    case PB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        cancel_watch(s, r->cancel_request->watch_id);
        return EW_OK;
    case PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        s->progress_wanted = !m->config.progress_unanswered;
        if (s->progress_wanted && (m->config.progress_overtakes || !etcd_model_stream_behind(s)))
            answer_progress(s);
        return EW_OK;
    default:
        return EW_ERR_INVALID;
    }
}

/* ---- catching up ---- */

/* Cancels a watch whose revisions are compacted. The header has revision 0, which does not mean a rollback (P4). */
static void cancel_compacted(etcd_model_stream *s, size_t i) {
    Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
    response.header = model_header(s->model, 0);
    response.watch_id = s->watches[i].id;
    response.canceled = true;
    response.compact_revision = s->model->compacted;
    if (!s->model->config.silent_cancel_reason)
        response.cancel_reason = sim_unconst("etcdserver: mvcc: required revision has been compacted");
    enqueue(s, &response, false);
    remove_watch(s, i);
}

/* Sends one batch: at most `batch_revisions` revisions of the watch's range, with the newest revision in the header
 * (P1). */
static void catch_up(etcd_model_stream *s, watch *w) {
    etcd_model *m = s->model;
    int64_t last = w->next - 1, more = 0;
    uint32_t revisions = 0;
    for (int64_t r = w->next; r <= m->revision && !more; r++) {
        if (!revision_concerns(m, w, r))
            continue;
        if (revisions++ == m->config.batch_revisions)
            more = r;
        else
            last = r;
    }
    if (last >= w->next)
        give(s, w, w->next, last, m->revision);
    w->synced = !more;
    w->next = more ? more : m->revision + 1;
}

bool etcd_model_stream_sync(etcd_model_stream *s) {
    sim_arena_reset(&s->model->arena);
    for (size_t i = s->watch_count; i-- > 0;) {
        watch *w = &s->watches[i];
        if (w->synced || is_full(s))
            continue;
        if (w->next < s->model->compacted)
            cancel_compacted(s, i);
        else
            catch_up(s, w);
    }
    bool behind = etcd_model_stream_behind(s);
    if (s->progress_wanted && !behind)
        answer_progress(s);
    return behind;
}

void etcd_model_stream_progress(etcd_model_stream *s) {
    sim_arena_reset(&s->model->arena);
    for (size_t i = 0; i < s->watch_count; i++) {
        const watch *w = &s->watches[i];
        if (!w->progress_notify || !w->synced || w->next > s->model->revision + 1)
            continue;
        Pb__WatchResponse response = PB__WATCH_RESPONSE__INIT;
        response.header = model_header(s->model, s->model->revision);
        response.watch_id = w->id;
        enqueue(s, &response, false);
    }
}

/* Queued responses stay; only later revisions wait for etcd's loop. */
void etcd_model_stream_lag(etcd_model_stream *s) {
    for (size_t i = 0; i < s->watch_count; i++)
        s->watches[i].synced = s->watches[i].synced && s->watches[i].next > s->model->revision + 1;
}

void etcd_model_stream_replay(etcd_model_stream *s, int64_t revision) {
    for (size_t i = 0; i < s->watch_count; i++) {
        watch *w = &s->watches[i];
        if (revision >= s->model->compacted && revision >= 2 && revision < w->next) {
            w->next = revision;
            w->synced = false;
        }
    }
}

void etcd_model_stream_lose(etcd_model_stream *s, int64_t revisions) {
    for (size_t i = 0; i < s->watch_count; i++)
        s->watches[i].lost = revisions;
}
