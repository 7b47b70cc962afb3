/* The records of clients expire while the worker runs, but not before a resend may come (SEMANTICS 34). */
#include "lib/requester.h"

#include <stdio.h>

enum { TTL_S = 10 };

#define RECORDS "/etcdworker/receipts/submit/"

static void begin(worker_fixture *f) {
    char ttl[16];
    snprintf(ttl, sizeof ttl, "%d", TTL_S);
    worker_fixture_open(f, "/records");
    worker_fixture_set(f, "submit", "on");
    worker_fixture_set(f, "receipt_ttl_s", ttl);
    worker_fixture_start_ready(f);
}

static void end(worker_fixture *f) {
    assert_int_equal(worker_fixture_close(f), EW_ERR_CANCELLED);
}

/* Clients that submit once: "a", then "b", and so on. */
typedef struct strangers {
    nng_socket req;
    uint64_t count;
    int64_t lease; /* of the first client's record */
} strangers;

static void record_of(const char *client, char *out, size_t size) {
    int n = snprintf(out, size, RECORDS);
    for (; *client != '\0'; client++)
        n += snprintf(out + n, size - (size_t)n, "%02x", (unsigned char)*client);
}

static int64_t next_stranger(strangers *s) {
    char client[32], key[64], record[160];
    snprintf(client, sizeof client, "stranger-%llu", (unsigned long long)s->count++);
    snprintf(key, sizeof key, "/records/%s", client);
    record_of(client, record, sizeof record);
    ew_submit_reply r = ask_once(s->req, put_by(key, client, 1));
    assert_once(key, &r);
    return client_get(record).lease;
}

static bool lease_was_replaced(void *arg) {
    strangers *s = arg;
    int64_t lease = next_stranger(s);
    assert_true(lease != 0);
    return lease != s->lease;
}

static bool first_has_expired(void *arg) {
    strangers *s = arg;
    char record[160];
    next_stranger(s);
    record_of("first", record, sizeof record);
    return !client_get(record).present;
}

/* The lease is replaced while the worker runs. A copy that another worker gets after that is still recognised; the
 * record expires with its lease; and its client goes on. */
static void test_records_expire(void **state) {
    (void)state;
    worker_fixture one, two;
    char record[160];
    client_delete_prefix(RECORDS);
    begin(&one);
    strangers s = {.req = requester_dial(ew_worker_submit_url(one.worker), 0)};
    body b = pack_submit(put_by("/records/first", "first", 1));
    ew_submit_reply first = ask(s.req, b);
    assert_once("/records/first", &first);
    record_of("first", record, sizeof record);
    s.lease = client_get(record).lease;
    assert_true(env_until(lease_was_replaced, &s));
    assert_true(client_get(record).present);
    begin(&two);
    nng_socket req = requester_dial(ew_worker_submit_url(two.worker), 0);
    ew_submit_reply again = ask(req, b);
    assert_once("/records/first", &again);
    assert_int_equal(again.revision, first.revision);
    nng_close(req);
    end(&two);
    assert_true(env_until(first_has_expired, &s));
    assert_true(client_count(RECORDS) < s.count); /* the records with the first lease have expired too */
    again = ask(s.req, b);                        /* this worker has the record in memory */
    assert_int_equal(again.revision, first.revision);
    again = ask_once(s.req, put_by("/records/second", "first", 2));
    assert_once("/records/second", &again);
    assert_true(client_get(record).present);
    free(b.data);
    nng_close(s.req);
    end(&one);
    client_delete_prefix("/records/");
}

int main(void) {
    const struct CMUnitTest tests[] = {env_test(test_records_expire)};
    return cmocka_run_group_tests(tests, env_open, env_close);
}
