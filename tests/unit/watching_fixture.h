/* A watching core under test: packs etcd's messages from a few fields, and finds the core's effects by type. */
#ifndef TESTS_WATCHING_FIXTURE_H
#define TESTS_WATCHING_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/watching.h"
#include "etcd.pb-c.h"
#include "watching_witness.h"

#define CLUSTER 0xc1

typedef struct fixture {
    watching *core;
    watching_event event; /* the last one; its bytes follow */
    uint8_t bytes[1 << 16];
    watching_effects out;
    int64_t now_ms;
    witness witness;
    Pb__RangeRequest *range; /* the last one sent */
    Pb__WatchRequest *watch;
} fixture;

static const watching_config fixture_config = {
    .key = {"/a", 2},
    .range_end = {"/a0", 3},
    .page_bytes = 4000,
    .backoff_min_ms = 50,
    .backoff_max_ms = 1000,
    .silence_ms = 5000,
    .seed = 1,
};

static inline int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    f->now_ms = 1000;
    f->core = watching_new(&fixture_config);
    *state = f;
    return f->core ? 0 : -1;
}

static inline int tear_down(void **state) {
    fixture *f = *state;
    watching_free(f->core);
    if (f->range)
        pb__range_request__free_unpacked(f->range, NULL);
    if (f->watch)
        pb__watch_request__free_unpacked(f->watch, NULL);
    free(f);
    return 0;
}

/* ---- effects of the core ---- */

/* Returns the only effect of a type, NULL if there is none. */
static inline const watching_effect *wants(const fixture *f, watching_effect_type type) {
    const watching_effect *found = NULL;
    for (size_t i = 0; i < f->out.count; i++) {
        if (f->out.list[i].type == type) {
            assert_null(found);
            found = &f->out.list[i];
        }
    }
    return found;
}

/* Returns the number of effects that are not log records. */
static inline size_t effects(const fixture *f) {
    size_t count = 0;
    for (size_t i = 0; i < f->out.count; i++)
        count += f->out.list[i].type != WATCHING_DO_LOG;
    return count;
}

static inline void keep_requests(fixture *f) {
    const watching_effect *e = wants(f, WATCHING_DO_RANGE);
    if (e) {
        if (f->range)
            pb__range_request__free_unpacked(f->range, NULL);
        assert_non_null(f->range = pb__range_request__unpack(NULL, e->bytes.len, e->bytes.data));
    }
    e = wants(f, WATCHING_DO_OPEN) ? wants(f, WATCHING_DO_OPEN) : wants(f, WATCHING_DO_REQUEST);
    if (e) {
        if (f->watch)
            pb__watch_request__free_unpacked(f->watch, NULL);
        assert_non_null(f->watch = pb__watch_request__unpack(NULL, e->bytes.len, e->bytes.data));
    }
}

static inline void is_in(const fixture *f, watching_state state) {
    assert_int_equal(watching_get_state(f->core), state);
}

/* ---- events ---- */

static inline void happens(fixture *f, watching_event event) {
    event.now_ms = f->now_ms;
    f->event = event;
    witness_event(&f->witness, &f->event);
    watching_step(f->core, &f->event, &f->out);
    witness_effects(&f->witness, &f->out);
    keep_requests(f);
}

static inline void told(fixture *f, watching_event_type type) {
    happens(f, (watching_event){.type = type});
}

static inline void failed(fixture *f, watching_event_type type, int status) {
    happens(f, (watching_event){.type = type, .status = status, .detail = "no luck"});
}

/* Advances the clock to the deadline, which must be at most `most_ms` away, and sends TIMER. Returns the time
 * waited. */
static inline int64_t deadline_passes(fixture *f, int64_t most_ms) {
    int64_t deadline = watching_deadline_ms(f->core), waited = deadline - f->now_ms;
    assert_true(deadline != INT64_MAX);
    assert_true(waited <= most_ms);
    if (waited > 0)
        f->now_ms = deadline;
    told(f, WATCHING_TIMER);
    return waited;
}

static inline void never_due(const fixture *f) {
    assert_true(watching_deadline_ms(f->core) == INT64_MAX);
}

/* ---- messages of etcd ---- */

typedef struct header {
    int64_t revision;
    uint64_t cluster; /* CLUSTER if 0 */
    bool without_cluster, absent;
} header;

static inline Pb__ResponseHeader *pack_header(const header *h, Pb__ResponseHeader *to) {
    pb__response_header__init(to);
    to->revision = h->revision;
    to->cluster_id = h->without_cluster ? 0 : h->cluster ? h->cluster : CLUSTER;
    return h->absent ? NULL : to;
}

static inline ProtobufCBinaryData text_bytes(const char *text) {
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

typedef struct page {
    header header;
    const char *keys[8];
    int64_t mod_revision; /* of all keys; the header's if 0 */
    size_t value_bytes;
    bool more;
} page;

static inline void page_comes(fixture *f, page p) {
    static uint8_t value[8192];
    Pb__ResponseHeader h;
    Pb__KeyValue kvs[8], *list[8];
    Pb__RangeResponse r = PB__RANGE_RESPONSE__INIT;
    r.header = pack_header(&p.header, &h);
    r.kvs = list;
    r.more = p.more;
    for (; r.n_kvs < 8 && p.keys[r.n_kvs]; r.n_kvs++) {
        Pb__KeyValue *kv = list[r.n_kvs] = &kvs[r.n_kvs];
        pb__key_value__init(kv);
        kv->key = text_bytes(p.keys[r.n_kvs]);
        kv->value = (ProtobufCBinaryData){p.value_bytes, value};
        kv->mod_revision = p.mod_revision ? p.mod_revision : p.header.revision;
    }
    assert_true(pb__range_response__get_packed_size(&r) <= sizeof f->bytes);
    size_t size = pb__range_response__pack(&r, f->bytes);
    happens(f, (watching_event){.type = WATCHING_PAGE, .bytes = {f->bytes, size}});
}

typedef struct change {
    const char *key;
    int64_t revision;
    int type;
    bool without_kv;
    const char *value;
    int64_t create_revision, version, lease;
} change;

typedef struct response {
    header header;
    int64_t watch_id;
    bool created, canceled, fragment;
    int64_t compact_revision;
    const char *reason;
    change events[8];
} response;

static inline void response_comes(fixture *f, response from) {
    Pb__ResponseHeader h;
    Pb__Event events[8], *list[8];
    Pb__KeyValue kvs[8];
    Pb__WatchResponse r = PB__WATCH_RESPONSE__INIT;
    r.header = pack_header(&from.header, &h);
    r.watch_id = from.watch_id;
    r.created = from.created;
    r.canceled = from.canceled;
    r.fragment = from.fragment;
    r.compact_revision = from.compact_revision;
    r.cancel_reason = (char *)(uintptr_t)(from.reason ? from.reason : "");
    r.events = list;
    for (; r.n_events < 8 && from.events[r.n_events].key; r.n_events++) {
        const change *c = &from.events[r.n_events];
        Pb__Event *e = list[r.n_events] = &events[r.n_events];
        pb__event__init(e);
        pb__key_value__init(&kvs[r.n_events]);
        e->type = (Pb__Event__EventType)c->type;
        e->kv = c->without_kv ? NULL : &kvs[r.n_events];
        kvs[r.n_events].key = text_bytes(c->key);
        kvs[r.n_events].mod_revision = c->revision;
        kvs[r.n_events].create_revision = c->create_revision;
        kvs[r.n_events].version = c->version;
        kvs[r.n_events].lease = c->lease;
        kvs[r.n_events].value = text_bytes(c->value ? c->value : "");
    }
    assert_true(pb__watch_response__get_packed_size(&r) <= sizeof f->bytes);
    size_t size = pb__watch_response__pack(&r, f->bytes);
    happens(f, (watching_event){.type = WATCHING_RESPONSE, .bytes = {f->bytes, size}});
}

/* ---- scenarios that many tests begin with ---- */

static inline void starts(fixture *f) {
    told(f, WATCHING_START);
    assert_non_null(wants(f, WATCHING_DO_RANGE));
    assert_false(wants(f, WATCHING_DO_RANGE)->whole);
}

/* Loads a snapshot of one key at `revision`. The stream is opened, but the watch is not created yet. */
static inline void loads(fixture *f, int64_t revision) {
    page_comes(f, (page){.header = {revision}, .keys = {"/a/1"}});
    is_in(f, WATCHING_WATCHING);
}

static inline void connects(fixture *f) {
    response_comes(f, (response){.header = {f->witness.revision}, .watch_id = 7, .created = true});
    assert_true(wants(f, WATCHING_DO_SEND_HEALTH)->connected);
}

/* All pages have arrived. The end of the snapshot is sent when etcd has created the watch, and not before. */
static inline void completes(fixture *f) {
    is_in(f, WATCHING_WATCHING);
    assert_true(f->witness.loading);
    connects(f);
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_true(e->last && !e->first && e->bytes.len == 0);
    assert_false(f->witness.loading);
}

/* Loads at `revision`, then watches with watch id 7. */
static inline void watches(fixture *f, int64_t revision) {
    starts(f);
    loads(f, revision);
    connects(f);
}

/* Breaks the stream and waits until the core opens another one, which starts at `revision`. */
static inline void reopens_at(fixture *f, int64_t revision) {
    if (f->witness.stream_out)
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_UNAVAILABLE);
    is_in(f, WATCHING_BROKEN);
    deadline_passes(f, 1000);
    is_in(f, WATCHING_WATCHING);
    assert_non_null(wants(f, WATCHING_DO_OPEN));
    assert_int_equal(f->watch->create_request->start_revision, revision);
}

/* The same without events since the snapshot: the new watch starts after `revision`. */
static inline void reopens_behind(fixture *f, int64_t revision) {
    reopens_at(f, revision + 1);
}

/* etcd, at `revision`, creates the watch of a resumed stream. The core does not report that it is connected before the
 * last events have come again. */
static inline void is_created(fixture *f, int64_t revision) {
    bool connected = f->witness.connected;
    response_comes(f, (response){.header = {revision}, .watch_id = 7, .created = true});
    assert_int_equal(effects(f), 0);
    assert_int_equal(f->witness.connected, connected);
}

static inline void ends_with(fixture *f, int status) {
    is_in(f, status == EW_OK ? WATCHING_STOPPED : WATCHING_FAILED);
    if (f->witness.range_out)
        failed(f, WATCHING_PAGE_FAILED, EW_ERR_CANCELLED);
    if (f->witness.stream_out)
        failed(f, WATCHING_STREAM_ENDED, EW_ERR_CANCELLED);
    const watching_effect *end = wants(f, WATCHING_DO_END);
    assert_non_null(end);
    assert_int_equal(end->status, status);
    never_due(f);
}

#endif
