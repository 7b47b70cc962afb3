/* Submits with an identity: each is decided once, however often it is sent (SEMANTICS 34). */
#include "core/submit_clients.h"
#include "unit/submit_fixture.h"

#define RECORD "/a/receipts/submit/63" /* of the client "c" */

static life *l;

static void use(const ticking_config *base, int64_t record_lease) {
    ticking_config config = *base;
    config.record_lease = record_lease;
    if (l)
        life_free(l);
    l = life_new(&config);
    load(l, 9, {"/a/0", 2, "1"});
    settle(l);
    look(l);
}

static int setup(void **state) {
    (void)state;
    l = NULL;
    use(&plain_config, 7);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    life_free(l);
    return 0;
}

/* Sends request `id`: the client puts `value` to /a/x. */
static void give_value(uint64_t id, const char *client, uint64_t sequence, const char *value) {
    submit u;
    submit_by(submit_put(submit_init(&u), "/a/x", value), client, sequence);
    step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &u.message, .submit_id = id});
}

static void give(uint64_t id, const char *client, uint64_t sequence) {
    give_value(id, client, sequence, "1");
}

/* The same, if /a/0 is absent. */
static void give_if(uint64_t id, const char *client, uint64_t sequence) {
    submit u;
    submit_by(submit_if(submit_put(submit_init(&u), "/a/x", "1"), "/a/0", NULL), client, sequence);
    step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &u.message, .submit_id = id});
}

static void assert_reply(uint64_t id, int status, int64_t revision, const char *in_detail) {
    assert_int_equal(l->replies, 1);
    assert_int_equal(l->reply_id, id);
    assert_string_equal(ew_errname(l->reply_status), ew_errname(status));
    assert_int_equal(l->reply_revision, revision);
    assert_non_null(strstr(l->reply_detail, in_detail));
    look(l);
}

/* A record that a refused transaction has read. */
typedef struct found {
    uint32_t unit;
    int64_t mod_revision; /* 0: absent */
    uint64_t sequence;
    const char *value; /* what the submit of that record put to /a/x */
    int status;
    int64_t revision;
} found;

static uint64_t digest_of(const char *value) {
    submit u;
    return submit_digest(&submit_put(submit_init(&u), "/a/x", value)->message);
}

static void refuse_with(const found *list, size_t n, int64_t conflict) {
    static uint8_t bytes[4][64];
    Msg__FoundRecord records[4], *pointers[4];
    Msg__Outcome o = outcome_of(l, EW_ERR_REFUSED, list[0].unit, list[0].unit > 0 ? 10 : 0);
    for (size_t i = 0; i < n; i++) {
        Msg__SubmitRecord r = MSG__SUBMIT_RECORD__INIT;
        r.sequence = list[i].sequence;
        r.digest = digest_of(list[i].value);
        r.status = list[i].status;
        r.revision = list[i].revision;
        msg__found_record__init(&records[i]);
        records[i].unit = list[i].unit;
        records[i].mod_revision = list[i].mod_revision;
        if (list[i].mod_revision != 0)
            records[i].value = (ProtobufCBinaryData){msg__submit_record__pack(&r, bytes[i]), bytes[i]};
        pointers[i] = &records[i];
    }
    o.records = pointers;
    o.n_records = n;
    o.conflict_revision = conflict;
    take_outcome(l, o);
}

static void refuse(found f) {
    refuse_with(&f, 1, 0);
}

/* A submit's atomic unit also compares the client's record and puts it, with the worker's lease. */
static void test_record(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?0 " RECORD "?0 /a/x=1 " RECORD "=#5!lease ");
    committed(l, 12);
    assert_reply(1, EW_OK, 12, "");
    events(l, {"/a/x", 12, "1"});
    settle(l);
    give(2, "c", 6);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?12 " RECORD "?12 /a/x=1 " RECORD "=#6!lease ");
}

/* A submit that was decided is answered at once with its first revision, also while the run is ending. */
static void test_repeat(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    committed(l, 12);
    assert_reply(1, EW_OK, 12, "");
    give(2, "c", 5);
    assert_reply(2, EW_OK, 12, "");
    give(3, "c", 4);
    assert_reply(3, EW_ERR_TOO_OLD, 0, "sequence 4 is older than 5, its outcome is no longer kept");
    give_value(4, "c", 5, "another value");
    assert_reply(4, EW_ERR_BAD_MESSAGE, 0, "sequence 5 was used before");
    events(l, {"/a/x", 12, "1"});
    settle(l);
    give(5, "d", 6); /* keeps the core busy */
    settle(l);
    stop_ticking(l, EW_ERR_CANCELLED);
    look(l);
    give(6, "c", 5);
    assert_reply(6, EW_OK, 12, "");
    assert_int_equal(l->commits, 0);
}

/* A repeat of a pending submit gets the same reply. One with an older sequence, or with other content, gets an
 * error. */
static void test_repeat_while_pending(void **state) {
    (void)state;
    give(1, "c", 5);
    give(2, "c", 5);
    settle(l);
    look(l);
    give(3, "c", 5);
    assert_int_equal(l->replies, 0);
    give(4, "c", 5); /* three are pending, the maximum */
    assert_reply(4, EW_ERR_BUSY, 0, "too many");
    give(5, "c", 4);
    assert_reply(5, EW_ERR_TOO_OLD, 0, "older than 5");
    give_value(6, "c", 5, "another value");
    assert_reply(6, EW_ERR_BAD_MESSAGE, 0, "with other content");
    assert_int_equal(l->patches->n_units, 1);
    committed(l, 12);
    assert_int_equal(l->replies, 3);
    assert_int_equal(l->replied_mask, 1 << 1 | 1 << 2 | 1 << 3);
    assert_int_equal(l->reply_status, EW_OK);
    assert_int_equal(l->reply_revision, 12);
}

/* The worker does not know the client, but etcd has its record: a previous worker committed the same submit, an older
 * one or a later one. */
static void test_predecessor(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    refuse((found){.mod_revision = 8, .sequence = 5, .value = "1"});
    assert_int_equal(ticking_deadline_ms(l->t), 0); /* waits for nothing */
    settle(l);
    assert_reply(1, EW_OK, 8, "");
    assert_int_equal(l->commits, 0);

    give(2, "d", 5);
    settle(l);
    refuse((found){.mod_revision = 8, .sequence = 7, .value = "1"});
    settle(l);
    assert_reply(2, EW_ERR_TOO_OLD, 0, "sequence 5 is older than 7");

    give(3, "e", 5);
    settle(l);
    refuse((found){.mod_revision = 8, .sequence = 4, .value = "1"});
    look(l);
    settle(l);
    assert_int_equal(l->commits, 1);
    assert_string_equal(unit_text(l, 0), "/a/x?0 /a/receipts/submit/65?8 /a/x=1 /a/receipts/submit/65=#5!lease ");
    committed(l, 12);
    assert_reply(3, EW_OK, 12, "");
    events(l, {"/a/x", 12, "1"});
    settle(l);

    give(4, "f", 5);
    settle(l);
    refuse((found){.mod_revision = 8, .sequence = 5, .value = "of other content"});
    settle(l);
    assert_reply(4, EW_ERR_BAD_MESSAGE, 0, "sequence 5 was used before");

    give(5, "g", 5);
    settle(l);
    refuse((found){.mod_revision = 8, .sequence = 5, .value = "1", .status = EW_ERR_REFUSED, .revision = 6});
    settle(l);
    assert_reply(5, EW_ERR_REFUSED, 6, "a compare does not hold");
}

/* One refusal returns the records of many clients. */
static void test_many_records_of_a_predecessor(void **state) {
    (void)state;
    const found list[] = {{.unit = 0, .mod_revision = 8, .sequence = 5, .value = "1"},
                          {.unit = 1, .mod_revision = 7, .sequence = 5, .value = "1"}};
    submit u;
    for (uint64_t i = 1; i <= 2; i++) {
        submit_by(submit_put(submit_init(&u), i == 1 ? "/a/x" : "/a/y", "1"), i == 1 ? "c" : "d", 9);
        step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &u.message, .submit_id = i});
    }
    settle(l);
    assert_int_equal(l->patches->n_units, 2);
    refuse_with(list, 2, 0);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?0 " RECORD "?8 /a/x=1 " RECORD "=#9!lease ");
    assert_string_equal(unit_text(l, 1), "/a/y?0 /a/receipts/submit/64?7 /a/y=1 /a/receipts/submit/64=#9!lease ");
}

/* If a key conflicted as well, the core waits for its change. */
static void test_record_and_key(void **state) {
    (void)state;
    const found f = {.mod_revision = 8, .sequence = 4, .value = "1"};
    give(1, "c", 5);
    settle(l);
    refuse_with(&f, 1, 11);
    assert_int_equal(ticking_deadline_ms(l->t), INT64_MAX);
    events(l, {"/a/x", 11, "external"});
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?11 " RECORD "?8 /a/x=1 " RECORD "=#5!lease ");
}

/* The record has expired: no other worker has put it since, or it would exist. */
static void test_record_expired(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    committed(l, 12);
    events(l, {"/a/x", 12, "1"});
    settle(l);
    give(2, "c", 6);
    settle(l);
    refuse((found){.mod_revision = 0, .value = ""});
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?12 " RECORD "?0 /a/x=1 " RECORD "=#6!lease ");
    look(l);
    give(3, "c", 5); /* the worker still remembers it */
    assert_reply(3, EW_OK, 12, "");
}

/* A refusal is decided like a commit, by a transaction of the record alone. If a copy of the submit was committed
 * first, its record decides. */
static void test_refusal_is_recorded(void **state) {
    (void)state;
    give_if(1, "c", 5);
    settle(l);
    assert_string_equal(unit_text(l, 0), RECORD "?0 " RECORD "=#5 EW_ERR_REFUSED!lease ");
    assert_int_equal(l->replies, 0);
    Msg__Outcome o = outcome_of(l, EW_OK, 1, 12);
    o.barrier_revision = 0; /* no change below the prefix */
    take_outcome(l, o);
    assert_reply(1, EW_ERR_REFUSED, 9, "the compare of /a/0 does not hold: the key exists");
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.groups_committed, 0);
    give_if(2, "c", 5);
    assert_reply(2, EW_ERR_REFUSED, 9, "a compare does not hold");
    give_if(3, "c", 6);
    settle(l);
    assert_string_equal(unit_text(l, 0), RECORD "?12 " RECORD "=#6 EW_ERR_REFUSED!lease ");
    submit u;
    submit_if(submit_put(submit_init(&u), "/a/x", "1"), "/a/0", NULL);
    Msg__SubmitRecord r = MSG__SUBMIT_RECORD__INIT;
    r.sequence = 6;
    r.digest = submit_digest(&u.message);
    uint8_t bytes[64];
    Msg__FoundRecord record = MSG__FOUND_RECORD__INIT, *list[] = {&record};
    record.value = (ProtobufCBinaryData){msg__submit_record__pack(&r, bytes), bytes};
    record.mod_revision = 14;
    o = outcome_of(l, EW_ERR_REFUSED, 0, 0);
    o.records = list;
    o.n_records = 1;
    look(l);
    take_outcome(l, o);
    settle(l);
    assert_reply(3, EW_OK, 14, "");
}

/* A malformed record: the outcome of its submit is unknown. A later submit replaces the record. */
static void test_malformed_record(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    refuse((found){.mod_revision = 8, .sequence = 0, .value = ""});
    assert_non_null(strstr(l->logs, "malformed"));
    settle(l);
    assert_reply(1, EW_ERR_UNKNOWN_OUTCOME, 0, "malformed");
    give(2, "c", 5);
    assert_reply(2, EW_ERR_UNKNOWN_OUTCOME, 0, "malformed");
    give(3, "c", 6);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?0 " RECORD "?8 /a/x=1 " RECORD "=#6!lease ");
    Msg__FoundRecord record = MSG__FOUND_RECORD__INIT, *list[] = {&record};
    record.value = binary("\xff\xff");
    record.mod_revision = 9;
    Msg__Outcome o = outcome_of(l, EW_ERR_REFUSED, 0, 0);
    o.records = list;
    o.n_records = 1;
    look(l);
    take_outcome(l, o);
    settle(l);
    assert_reply(3, EW_ERR_UNKNOWN_OUTCOME, 0, "malformed");
}

/* Records with an invalid atomic unit or revision are counted and ignored. */
static void test_invalid_records(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    const found wrong[] = {{.unit = 0, .mod_revision = -1, .value = ""}, {.unit = 9, .mod_revision = 8, .value = ""}};
    refuse_with(wrong, 2, 0);
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.bad_messages, 2);
    assert_int_equal(l->replies, 0);
    events(l, {"/a/0", 10, "2"}); /* as after any refusal without a known reason */
    look(l);
    settle(l);
    assert_int_equal(l->commits, 1);
}

/* A record of a submit that the same outcome has committed teaches nothing. */
static void test_record_of_a_committed_submit(void **state) {
    (void)state;
    const found list[] = {{.unit = 1, .mod_revision = 8, .sequence = 4, .value = "1"},
                          {.unit = 0, .mod_revision = 8, .sequence = 4, .value = "1"}};
    submit u;
    for (uint64_t i = 1; i <= 2; i++) {
        submit_by(submit_put(submit_init(&u), i == 1 ? "/a/x" : "/a/y", "1"), i == 1 ? "c" : "d", 5);
        step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &u.message, .submit_id = i});
    }
    settle(l);
    assert_int_equal(l->patches->n_units, 2);
    look(l);
    refuse_with(list, 2, 0);
    assert_reply(1, EW_OK, 10, "");
    events(l, {"/a/x", 10, "1"});
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/y?0 /a/receipts/submit/64?8 /a/y=1 /a/receipts/submit/64=#5!lease ");
}

static void test_the_lease_that_keys_are_bound_to(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.session_lease = 77;
    life_free(l);
    l = life_new(&config);
    assert_int_equal(ticking_session_lease(l->t), 77);
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Session session = MSG__SESSION__INIT;
    session.session_lease = 78;
    m.session = &session;
    step(l, (ticking_event){.type = TICKING_MESSAGE, .message = &m});
    assert_int_equal(ticking_session_lease(l->t), 78);
}

static void test_invalid_identities(void **state) {
    (void)state;
    char longest[66] = "";
    memset(longest, 'x', 64);
    give(1, longest, 1);
    assert_int_equal(l->replies, 0);
    longest[64] = 'x';
    give(2, longest, 1);
    assert_reply(2, EW_ERR_BAD_MESSAGE, 0, "the client's id has 65 bytes, at most 64 are allowed");
    give(3, "c", 0);
    assert_reply(3, EW_ERR_BAD_MESSAGE, 0, "a client needs a sequence");
    give(4, "", 1);
    assert_reply(4, EW_ERR_BAD_MESSAGE, 0, "a sequence needs a client");
    submit u;
    submit_by(submit_put(submit_init(&u), "/elsewhere", "1"), "c", 1);
    step(l, (ticking_event){.type = TICKING_SUBMIT, .submit = &u.message, .submit_id = 5});
    assert_reply(5, EW_ERR_OUTSIDE_PREFIX, 0, "/elsewhere");
    give(6, "c", 1); /* the identity was not used up */
    assert_int_equal(l->replies, 0);
}

/* The record counts against the limit of keys, and the error says so. */
static void test_record_counts_as_a_key(void **state) {
    (void)state;
    ticking_config config = plain_config;
    config.max_txn_keys = 1;
    use(&config, 7);
    give(1, "c", 1);
    settle(l);
    assert_reply(1, EW_ERR_TOO_LARGE, 0, "2 keys (one is its client's record)");
    give(2, "", 0);
    settle(l);
    assert_int_equal(l->commits, 1);
}

/* A submit with an identity that is not decided when the run ends gets EW_ERR_UNKNOWN_OUTCOME, since another worker may
 * have committed it. Without an identity there is only this copy, so it gets EW_ERR_CANCELLED. */
static void test_replies_at_the_end(void **state) {
    (void)state;
    give(1, "c", 5);
    settle(l);
    give(2, "d", 1);
    stop_ticking(l, EW_ERR_CANCELLED);
    look(l);
    give(3, "e", 1);
    assert_reply(3, EW_ERR_UNKNOWN_OUTCOME, 0, "the worker is ending");
    give(4, "", 0);
    assert_reply(4, EW_ERR_CANCELLED, 0, "the worker is ending");
    Msg__Outcome o = outcome_of(l, EW_ERR_CANCELLED, 0, 0);
    take_outcome(l, o);
    assert_int_equal(l->replies, 2);
    assert_int_equal(l->replied_mask, 1 << 1 | 1 << 2);
    assert_int_equal(l->reply_status, EW_ERR_UNKNOWN_OUTCOME);
    assert_ended(l, EW_ERR_CANCELLED, "");

    use(&plain_config, 7);
    give(1, "c", 5);
    settle(l);
    o = outcome_of(l, EW_ERR_SESSION_DONE, 0, 0);
    take_outcome(l, o);
    assert_reply(1, EW_ERR_UNKNOWN_OUTCOME, 0, "");
    assert_ended(l, EW_ERR_SESSION_DONE, "");
}

/* Without a lease no record is put into etcd; the worker's own table still answers repeats. */
static void test_without_a_lease(void **state) {
    (void)state;
    use(&plain_config, 0);
    give(1, "c", 5);
    settle(l);
    assert_string_equal(unit_text(l, 0), "/a/x?0 /a/x=1 ");
    committed(l, 12);
    assert_reply(1, EW_OK, 12, "");
    give(2, "c", 5);
    assert_reply(2, EW_OK, 12, "");
    events(l, {"/a/x", 12, "1"});
    settle(l);
    look(l);
    give_if(3, "c", 6);
    settle(l);
    assert_int_equal(l->commits, 0);
    assert_reply(3, EW_ERR_REFUSED, 12, "");
    give_if(4, "c", 6);
    assert_reply(4, EW_ERR_REFUSED, 12, "");
}

/* Two pending submits of one client, against the advice of the header: they stay in order, and the record is that of
 * the second one. */
static void test_two_submits_of_a_client(void **state) {
    (void)state;
    give(1, "c", 5);
    give_value(2, "c", 6, "2");
    settle(l);
    assert_int_equal(l->patches->n_units, 1);
    assert_string_equal(unit_text(l, 0), "/a/x?0 " RECORD "?0 /a/x=2 " RECORD "=#6!lease ");
    committed(l, 12);
    assert_int_equal(l->replied_mask, 1 << 1 | 1 << 2);
    look(l);
    give(3, "c", 5);
    assert_reply(3, EW_ERR_TOO_OLD, 0, "older than 6");
}

/* The first of two submits is refused and recorded, the second one is committed in the same atomic unit. */
static void test_refused_and_committed_together(void **state) {
    (void)state;
    give_if(1, "c", 5);
    give(2, "c", 6);
    settle(l);
    assert_int_equal(l->patches->n_units, 1);
    assert_string_equal(unit_text(l, 0), "/a/x?0 " RECORD "?0 /a/x=1 " RECORD "=#6!lease ");
    committed(l, 12);
    assert_int_equal(l->replies, 2);
    assert_int_equal(l->reply_status, EW_OK);
    ticking_stats stats;
    ticking_get_stats(l->t, &stats);
    assert_int_equal(stats.groups_committed, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_record),
        TEST(test_repeat),
        TEST(test_repeat_while_pending),
        TEST(test_predecessor),
        TEST(test_many_records_of_a_predecessor),
        TEST(test_record_and_key),
        TEST(test_record_expired),
        TEST(test_refusal_is_recorded),
        TEST(test_malformed_record),
        TEST(test_invalid_records),
        TEST(test_record_of_a_committed_submit),
        TEST(test_the_lease_that_keys_are_bound_to),
        TEST(test_invalid_identities),
        TEST(test_record_counts_as_a_key),
        TEST(test_replies_at_the_end),
        TEST(test_without_a_lease),
        TEST(test_two_submits_of_a_client),
        TEST(test_refused_and_committed_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
