/* watch_events reads events in place, with the same result as protobuf-c, from any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/watch_events.h"
#include "etcd.pb-c.h"

enum { SAMPLE_MAX = 1024 };

static bool same(ew_slice a, ProtobufCBinaryData b) {
    return ew_slice_equal(a, (ew_slice){b.len > 0 ? b.data : (const uint8_t *)"", b.len});
}

/* Returns whether both accept the bytes; if so, they must agree on everything. */
static bool compare(ew_slice bytes) {
    watch_event e;
    watch_events s = watch_events_of(bytes);
    Pb__WatchResponse *whole = pb__watch_response__unpack(NULL, bytes.len, bytes.data);
    size_t count = 0;
    while (watch_events_next(&s, &e)) {
        if (!whole) /* protobuf-c also checks prev_kv and fields outside events */
            continue;
        assert_true(count < whole->n_events);
        const Pb__Event *wanted = whole->events[count++];
        assert_int_equal(e.type, wanted->type);
        assert_int_equal(e.has_kv, wanted->kv != NULL);
        assert_int_equal(e.previous.data != NULL, wanted->prev_kv != NULL);
        if (!e.has_kv)
            continue;
        assert_int_equal(e.mod_revision, wanted->kv->mod_revision);
        assert_int_equal(e.create_revision, wanted->kv->create_revision);
        assert_int_equal(e.version, wanted->kv->version);
        assert_int_equal(e.lease, wanted->kv->lease);
        assert_true(same(e.key, wanted->kv->key));
        assert_true(same(e.value, wanted->kv->value));
    }
    assert_true(!whole || !s.malformed);
    if (!s.malformed) {
        assert_true(!whole || count == whole->n_events);
        uint8_t *rest = malloc(s.rest + 1); /* on the heap, for the sanitizer */
        watch_events_rest(bytes, rest);
        Pb__WatchResponse *head = pb__watch_response__unpack(NULL, s.rest, rest);
        if (head && whole) {
            assert_int_equal(head->n_events, 0);
            assert_int_equal(head->watch_id, whole->watch_id);
            assert_int_equal(head->fragment, whole->fragment);
            assert_int_equal(head->header != NULL, whole->header != NULL);
            assert_string_equal(head->cancel_reason, whole->cancel_reason);
        }
        assert_true(head || !whole);
        if (head)
            pb__watch_response__free_unpacked(head, NULL);
        free(rest);
    }
    if (whole)
        pb__watch_response__free_unpacked(whole, NULL);
    return whole && !s.malformed;
}

/* Packs a response with an event of each kind, between fields of other kinds. */
static size_t sample(uint8_t out[SAMPLE_MAX]) {
    static uint8_t large[200];
    Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
    header.cluster_id = UINT64_MAX;
    header.revision = INT64_MAX;
    Pb__KeyValue kvs[4] = {PB__KEY_VALUE__INIT, PB__KEY_VALUE__INIT, PB__KEY_VALUE__INIT, PB__KEY_VALUE__INIT};
    Pb__Event events[5] = {PB__EVENT__INIT, PB__EVENT__INIT, PB__EVENT__INIT, PB__EVENT__INIT, PB__EVENT__INIT};
    Pb__Event *list[5];
    for (int i = 0; i < 5; i++) {
        list[i] = &events[i];
        events[i].kv = i < 4 ? &kvs[i] : NULL;
    }
    kvs[0].key = (ProtobufCBinaryData){2, (uint8_t *)"/a"};
    kvs[0].value = (ProtobufCBinaryData){sizeof large, large};
    kvs[0].mod_revision = 300;
    kvs[0].create_revision = 200;
    kvs[0].version = 3;
    kvs[0].lease = INT64_MAX;
    events[1].type = PB__EVENT__EVENT_TYPE__DELETE;
    events[1].prev_kv = &kvs[0];
    kvs[1].mod_revision = INT64_MAX;
    kvs[2].mod_revision = -1;
    events[3].type = (Pb__Event__EventType)7;
    Pb__WatchResponse r = PB__WATCH_RESPONSE__INIT;
    r.header = &header;
    r.watch_id = 5;
    r.fragment = true;
    r.cancel_reason = (char *)"because";
    r.n_events = 5;
    r.events = list;
    assert_true(pb__watch_response__get_packed_size(&r) <= SAMPLE_MAX);
    return pb__watch_response__pack(&r, out);
}

static void reads_what_protobuf_reads(void **state) {
    (void)state;
    uint8_t bytes[2 * SAMPLE_MAX];
    size_t len = sample(bytes);
    assert_true(compare((ew_slice){bytes, len}));
    assert_true(compare((ew_slice){bytes, 0}));
    assert_true(compare((ew_slice){NULL, 0}));
    memcpy(bytes + len, bytes, len); /* as fragments are joined */
    assert_true(compare((ew_slice){bytes, 2 * len}));
}

static void reads_the_key_before_the_event(void **state) {
    (void)state;
    uint8_t bytes[SAMPLE_MAX];
    watch_event e, previous;
    watch_events s = watch_events_of((ew_slice){bytes, sample(bytes)});
    assert_true(watch_events_next(&s, &e));
    const watch_event first = e;
    assert_null(first.previous.data);
    assert_true(watch_events_next(&s, &e));
    assert_true(watch_events_kv(e.previous, &previous));
    assert_true(ew_slice_equal(previous.key, first.key) && ew_slice_equal(previous.value, first.value));
    assert_int_equal(previous.mod_revision, 300);
    assert_int_equal(previous.lease, INT64_MAX);
    assert_false(watch_events_kv((ew_slice){e.previous.data, e.previous.len - 1}, &previous));
}

/* Each field of an event counts. */
static void digests_differ(void **state) {
    (void)state;
    const watch_event e = {.type = 0, .key = EW_STR("k"), .value = EW_STR("a value"), .mod_revision = 3};
    watch_event others[] = {e, e, e, e, e, e, e};
    others[0].type = 1;
    others[1].key = EW_STR("l");
    others[2].value = EW_STR("a longer value");
    others[3].mod_revision++;
    others[4].create_revision++;
    others[5].version++;
    others[6].lease++;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_true(watch_events_digest(&others[i]) != watch_events_digest(&e));
    others[0] = e;
    assert_true(watch_events_digest(&others[0]) == watch_events_digest(&e));
}

/* A submessage that occurs twice is merged. */
static void merges_as_protobuf_does(void **state) {
    (void)state;
    static const uint8_t twice[] = {0x5a, 14, 0x12, 4, 0x0a, 2, 'a', 'b', 0x12, 6, 0x18, 9, 0x0a, 2, 'c', 'd'};
    watch_event e;
    watch_events s = watch_events_of((ew_slice){twice, sizeof twice});
    assert_true(compare((ew_slice){twice, sizeof twice}));
    assert_true(watch_events_next(&s, &e));
    assert_int_equal(e.mod_revision, 9);
    assert_true(ew_slice_equal(e.key, EW_STR("cd")));
}

static void no_byte_after_the_end_is_read(void **state) {
    (void)state;
    uint8_t bytes[SAMPLE_MAX];
    size_t len = sample(bytes);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = malloc(cut + 1); /* on the heap, for the sanitizer */
        memcpy(part, bytes, cut);
        compare((ew_slice){part, cut});
        free(part);
    }
}

static void any_byte_may_be_corrupted(void **state) {
    (void)state;
    uint8_t bytes[SAMPLE_MAX];
    size_t len = sample(bytes), good = 0;
    for (size_t at = 0; at < len; at++) {
        const uint8_t was = bytes[at];
        for (int to = 0; to < 256; to++) {
            bytes[at] = (uint8_t)to;
            good += compare((ew_slice){bytes, len});
        }
        bytes[at] = was;
    }
    assert_true(good > 0 && good < 256 * len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_protobuf_reads),
        cmocka_unit_test(reads_the_key_before_the_event),
        cmocka_unit_test(digests_differ),
        cmocka_unit_test(merges_as_protobuf_does),
        cmocka_unit_test(no_byte_after_the_end_is_read),
        cmocka_unit_test(any_byte_may_be_corrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
