/* The snapshot of large prefixes, against a server that answers range requests like etcd: however the core bounds the
 * pages, each key comes once and in order, and etcd counts few keys. */
#include "unit/watching_fixture.h"

#include <stdio.h>

typedef struct server {
    char **keys; /* sorted */
    size_t count;
    size_t counted; /* the keys that etcd 3.4 would have counted */
    size_t pages;
} server;

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t first_at(const server *s, ProtobufCBinaryData key) {
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = (low + high) / 2, len = strlen(s->keys[middle]);
        int order = memcmp(s->keys[middle], key.data, len < key.len ? len : key.len);
        if (order < 0 || (order == 0 && len < key.len))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Answers the request in flight. `sent` counts the keys of the snapshot so far. */
static void answers(fixture *f, server *s, size_t value_bytes, size_t *sent) {
    static uint8_t value[512];
    size_t first = first_at(s, f->range->key), end = first_at(s, f->range->range_end);
    size_t n = end - first < (size_t)f->range->limit ? end - first : (size_t)f->range->limit;
    Pb__ResponseHeader h;
    Pb__RangeResponse r = PB__RANGE_RESPONSE__INIT;
    Pb__KeyValue *kvs = calloc(n + 1, sizeof *kvs), **list = calloc(n + 1, sizeof *list);
    assert_true(kvs && list);
    for (size_t i = 0; i < n; i++) {
        list[i] = &kvs[i];
        pb__key_value__init(list[i]);
        kvs[i].key = text_bytes(s->keys[first + i]);
        kvs[i].value = (ProtobufCBinaryData){value_bytes, value};
        kvs[i].mod_revision = 5;
    }
    r.header = pack_header(&(header){.revision = 10}, &h);
    r.kvs = list;
    r.n_kvs = n;
    r.count = (int64_t)(end - first);
    r.more = n < end - first;
    size_t size = pb__range_response__get_packed_size(&r);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    pb__range_response__pack(&r, bytes);
    assert_int_equal(first, *sent); /* no key is missing, none comes twice */
    *sent += n;
    s->counted += end - first;
    s->pages++;
    happens(f, (watching_event){.type = WATCHING_PAGE, .bytes = {bytes, size}});
    const watching_effect *e = wants(f, WATCHING_DO_SEND_SNAPSHOT);
    assert_non_null(e);
    assert_int_equal(*sent == s->count, watching_get_state(f->core) == WATCHING_WATCHING);
    free(bytes);
    free(kvs);
    free(list);
}

static void loads_all(server *s, int64_t page_bytes, size_t value_bytes) {
    fixture *f = NULL;
    assert_int_equal(set_up((void **)&f), 0);
    watching_config config = fixture_config;
    config.page_bytes = page_bytes;
    watching_free(f->core);
    f->core = watching_new(&config);
    assert_non_null(f->core);
    qsort(s->keys, s->count, sizeof *s->keys, by_bytes);
    starts(f);
    size_t sent = 0;
    while (watching_get_state(f->core) == WATCHING_SYNCING) {
        assert_true(s->pages < 5000);
        answers(f, s, value_bytes, &sent);
    }
    assert_int_equal(sent, s->count);
    completes(f);
    tear_down((void **)&f);
    for (size_t i = 0; i < s->count; i++)
        free(s->keys[i]);
    free(s->keys);
}

static server keys_of(size_t count, void (*name)(char *to, size_t i)) {
    server s = {calloc(count, sizeof *s.keys), count, 0, 0};
    assert_non_null(s.keys);
    for (size_t i = 0; i < count; i++) {
        char key[64];
        name(key, i);
        assert_non_null(s.keys[i] = strdup(key));
    }
    return s;
}

static void counting(char *to, size_t i) {
    snprintf(to, 64, "/a/tasks/%09zu", i);
}

static void plain_decimal(char *to, size_t i) {
    snprintf(to, 64, "/a/%zu", i);
}

static void scattered(char *to, size_t i) {
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    snprintf(to, 64, "/a/%016llx", (unsigned long long)(z ^ (z >> 27)));
}

static void in_days(char *to, size_t i) {
    snprintf(to, 64, "/a/2024-%02zu-%02zu/%zu", i % 12 + 1, i / 12 % 28 + 1, i);
}

static void lopsided(char *to, size_t i) {
    if (i % 100 == 0)
        snprintf(to, 64, "/a/few/%zu", i);
    else
        snprintf(to, 64, "/a/many/of/them/%08zu", i);
}

static void with_high_bytes(char *to, size_t i) {
    snprintf(to, 64, "/a/\xff\xff%c%08zu", i % 2 ? '\xff' : '\xfe', i);
}

static void (*const namings[])(char *, size_t) = {counting, plain_decimal, scattered,
                                                  in_days,  lopsided,      with_high_bytes};

static void every_key_comes_once_and_in_order(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof namings / sizeof namings[0]; i++) {
        for (int64_t page_bytes = 5000; page_bytes <= 500000; page_bytes *= 10) {
            server s = keys_of(20000, namings[i]);
            loads_all(&s, page_bytes, 100);
        }
    }
}

/* Without bounds, 200,000 keys in pages of about 5,000 are counted 20 times. */
static void etcd_counts_little(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof namings / sizeof namings[0]; i++) {
        server s = keys_of(200000, namings[i]);
        loads_all(&s, 1 << 20, 200);
        assert_true(s.counted < 8 * s.count);
        assert_true(s.pages < 200);
    }
}

/* A prefix of a few pages is read without bounds. */
static void a_small_prefix_is_not_bounded(void **state) {
    (void)state;
    server s = keys_of(1500, counting);
    loads_all(&s, 8 << 20, 100);
    assert_int_equal(s.pages, 2);
}

/* A key after the bound would come again with the next page. */
static void a_key_after_the_bound_is_refused(void **state) {
    fixture *f = *state;
    watching_config config = fixture_config;
    config.page_bytes = 1000;
    watching_free(f->core);
    f->core = watching_new(&config);
    starts(f);
    server s = keys_of(5000, counting);
    size_t sent = 0;
    while (f->range->range_end.len == 3)
        answers(f, &s, 0, &sent);
    page_comes(f, (page){.header = {10}, .keys = {"/a/zzz"}});
    assert_null(wants(f, WATCHING_DO_SEND_SNAPSHOT));
    is_in(f, WATCHING_SYNCING);
    deadline_passes(f, 1000);
    while (watching_get_state(f->core) == WATCHING_SYNCING)
        answers(f, &s, 0, &sent);
    assert_int_equal(sent, s.count);
    for (size_t i = 0; i < s.count; i++)
        free(s.keys[i]);
    free(s.keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_comes_once_and_in_order),
        cmocka_unit_test(etcd_counts_little),
        cmocka_unit_test(a_small_prefix_is_not_bounded),
        cmocka_unit_test_setup_teardown(a_key_after_the_bound_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
