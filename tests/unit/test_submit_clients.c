/* The table of clients: bounded; it forgets the clients that were quiet for longest. */
#include "core/submit_clients.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static submit_client *get(submit_clients *clients, unsigned number) {
    char id[16];
    snprintf(id, sizeof id, "client-%u", number);
    return submit_clients_get(clients, EW_STR("/r"), ew_str(id));
}

static bool is_known(const submit_clients *clients, unsigned number) {
    char id[16];
    snprintf(id, sizeof id, "client-%u", number);
    return submit_clients_find(clients, ew_str(id)) != NULL;
}

static void test_key(void **state) {
    (void)state;
    submit_clients clients = {0};
    const submit_client *c = submit_clients_get(&clients, EW_STR("/r"), (ew_slice){"\x00\xff/A", 4});
    assert_true(ew_slice_equal(c->key, EW_STR("/r/submit/00ff2f41")));
    assert_ptr_equal(submit_clients_get(&clients, EW_STR("/r"), (ew_slice){"\x00\xff/A", 4}), c);
    assert_null(submit_clients_find(&clients, (ew_slice){"\x00\xff/", 3}));
    submit_clients_fini(&clients);
}

static void test_bound(void **state) {
    (void)state;
    submit_clients clients = {0};
    get(&clients, 0)->pending = 1;
    for (unsigned i = 1; i < SUBMIT_CLIENTS_MAX; i++)
        assert_non_null(get(&clients, i));
    assert_non_null(get(&clients, 1)); /* seen again */
    assert_non_null(get(&clients, SUBMIT_CLIENTS_MAX));
    assert_true(is_known(&clients, 0)); /* has a pending submit */
    assert_true(is_known(&clients, 1));
    assert_false(is_known(&clients, 2)); /* quiet for longest */
    assert_true(is_known(&clients, 3));
    assert_int_equal(HASH_COUNT(clients.table), SUBMIT_CLIENTS_MAX);
    submit_clients_fini(&clients);
}

static void test_learn(void **state) {
    (void)state;
    submit_clients clients = {0};
    submit_client *c = get(&clients, 0);
    Msg__SubmitRecord r = MSG__SUBMIT_RECORD__INIT;
    uint8_t bytes[64];
    r.sequence = 5;
    r.digest = 77;
    ew_slice five = {bytes, msg__submit_record__pack(&r, bytes)};
    assert_int_equal(submit_client_learn(c, 30, five, 6), EW_OK);
    assert_true(c->sequence == 5 && c->digest == 77 && c->status == EW_OK && c->revision == 30);
    c->sequence = 6; /* newer than the record */
    assert_int_equal(submit_client_learn(c, 31, five, 6), EW_OK);
    assert_true(c->sequence == 6 && c->record_revision == 31);
    assert_int_equal(submit_client_learn(c, 0, (ew_slice){NULL, 0}, 7), EW_OK);
    assert_true(c->sequence == 6 && c->record_revision == 0);
    r.status = EW_ERR_BUSY; /* no record has this status */
    r.sequence = 8;
    assert_int_equal(submit_client_learn(c, 32, (ew_slice){bytes, msg__submit_record__pack(&r, bytes)}, 7),
                     EW_ERR_BAD_MESSAGE);
    assert_true(c->sequence == 7 && c->status == EW_ERR_UNKNOWN_OUTCOME && c->record_revision == 32);
    submit_clients_fini(&clients);
}

static void test_digest(void **state) {
    (void)state;
    Msg__Submit a = MSG__SUBMIT__INIT;
    Msg__Submit__Put put = MSG__SUBMIT__PUT__INIT, *puts[] = {&put};
    Msg__Submit__Compare compare = MSG__SUBMIT__COMPARE__INIT, *compares[] = {&compare};
    ProtobufCBinaryData removed = {1, (uint8_t *)"k"};
    uint64_t seen[8];
    size_t n = 0;
    seen[n++] = submit_digest(&a);
    a.puts = puts;
    a.n_puts = 1;
    put.key = put.value = removed;
    seen[n++] = submit_digest(&a);
    put.value.len = 0;
    seen[n++] = submit_digest(&a);
    a.deletes = &removed;
    a.n_deletes = 1;
    seen[n++] = submit_digest(&a);
    a.compares = compares;
    a.n_compares = 1;
    compare.key = removed;
    seen[n++] = submit_digest(&a);
    compare.absent = true;
    seen[n++] = submit_digest(&a);
    a.sequence = 9; /* not part of the digest */
    assert_int_equal(submit_digest(&a), seen[n - 1]);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_learn),
        cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
