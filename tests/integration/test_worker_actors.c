/* Single actors at URLs of the test (<etcdworker/actor.h>), and messages in a worker's mailboxes that none of its
 * actors has sent. */
#include "actors/mailbox.h"
#include "etcd/etcd.h"
#include "lib/scenario.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the test as the actor's peer ---- */

typedef struct peer {
    char mailbox_url[64], actor_url[64];
    mailbox *mb;
    outbox *ob;      /* to the actor */
    nng_socket push; /* to the actor, for bodies that are not messages */
    ew_actor *actor;
} peer;

static void peer_open(peer *p) {
    static unsigned number;
    number++;
    memset(p, 0, sizeof *p);
    snprintf(p->mailbox_url, sizeof p->mailbox_url, "inproc://actors-test/%u/peer", number);
    snprintf(p->actor_url, sizeof p->actor_url, "inproc://actors-test/%u/actor", number);
    assert_int_equal(mailbox_open(&p->mb, p->mailbox_url, 64, NULL, NULL, NULL), EW_OK);
}

static nng_socket push_to(const char *url) {
    nng_socket push;
    assert_int_equal(nng_push0_open(&push), 0);
    assert_int_equal(nng_socket_set_ms(push, NNG_OPT_SENDTIMEO, ENV_WAIT_MS), 0);
    assert_int_equal(nng_dial(push, url, NULL, 0), 0);
    return push;
}

static void peer_connect(peer *p) {
    assert_int_equal(outbox_open(&p->ob, p->actor_url, 8, NULL, NULL, NULL), EW_OK);
    p->push = push_to(p->actor_url);
}

/* Receives and unpacks the next message. */
static Msg__Message *peer_receive(peer *p) {
    mailbox_message raw;
    int64_t deadline_ms = env_now_ms() + ENV_WAIT_MS;
    while (!mailbox_take(p->mb, &raw)) {
        assert_true(env_now_ms() < deadline_ms);
        mailbox_wait(p->mb, deadline_ms, false);
    }
    Msg__Message *m = msg__message__unpack(NULL, raw.body.len, raw.body.data);
    mailbox_message_free(&raw);
    assert_non_null(m);
    return m;
}

static void peer_send_stop(peer *p) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    stop.timeout_ms = 1000;
    m.stop = &stop;
    assert_int_equal(outbox_send(p->ob, &m), EW_OK);
}

static void peer_close(peer *p) {
    nng_close(p->push);
    outbox_close(p->ob);
    mailbox_close(p->mb);
}

/* Reads until DOWN, which is the last message. */
static void expect_down(peer *p, Msg__Actor actor) {
    for (;;) {
        Msg__Message *m = peer_receive(p);
        bool down = m->down != NULL;
        if (down) {
            assert_int_equal(m->down->actor, actor);
            assert_int_equal(m->down->status, EW_OK);
        }
        msg__message__free_unpacked(m, NULL);
        if (down)
            return;
    }
}

static bool has_counted(void *arg) {
    const void *const *both = arg;
    return ew_actor_bad_messages(both[0]) >= *(const uint64_t *)both[1];
}

static void await_bad(ew_actor *a, uint64_t count) {
    const void *both[] = {a, &count};
    assert_true(env_until(has_counted, both));
    assert_int_equal(ew_actor_bad_messages(a), count);
}

static void send_raw(nng_socket push, const void *body, size_t size) {
    assert_int_equal(nng_send(push, (void *)(uintptr_t)body, size, 0), 0);
}

static const char *const nonsense[] = {"hello", "\x3a\xff\xff\xff\xff\x0f", "\x3a", "\x3a\x7fxyz", "\xff\xff\xff\xff"};
enum { NONSENSE = sizeof nonsense / sizeof *nonsense };

/* ---- only a watcher ---- */

static void start_watcher(peer *p, const char *prefix) {
    ew_options *o = env_options(prefix);
    assert_int_equal(ew_watcher_open(&p->actor, client_handle(), o, p->actor_url, p->mailbox_url, NULL), EW_OK);
    ew_options_free(o);
    peer_connect(p);
}

/* Reads snapshot pages until the last one. Returns the number of keys. */
static size_t read_snapshot(peer *p, int64_t *revision) {
    size_t keys = 0;
    for (bool first = true, last = false; !last;) {
        Msg__Message *m = peer_receive(p);
        if (m->snapshot) {
            Pb__RangeResponse *page = pb__range_response__unpack(NULL, m->snapshot->page.len, m->snapshot->page.data);
            assert_non_null(page);
            assert_int_equal(m->epoch, 1);
            assert_int_equal(m->snapshot->first, first);
            keys += page->n_kvs;
            *revision = m->snapshot->revision;
            first = false;
            last = m->snapshot->last;
            pb__range_response__free_unpacked(page, NULL);
        }
        msg__message__free_unpacked(m, NULL);
    }
    return keys;
}

static void test_only_a_watcher(void **state) {
    (void)state;
    peer p;
    int64_t revision = 0;
    client_put("/alone/a", "1");
    int64_t before = client_put("/alone/b", "2");
    peer_open(&p);
    start_watcher(&p, "/alone");
    assert_int_equal(read_snapshot(&p, &revision), 2);
    assert_true(revision >= before);
    int64_t put = client_put("/alone/c", "3");
    for (bool seen = false; !seen;) {
        Msg__Message *m = peer_receive(&p);
        if (m->events) {
            Pb__WatchResponse *r = pb__watch_response__unpack(NULL, m->events->response.len, m->events->response.data);
            assert_int_equal(m->events->revision, put);
            assert_int_equal(r->n_events, 1);
            assert_int_equal(r->events[0]->kv->mod_revision, put);
            pb__watch_response__free_unpacked(r, NULL);
            seen = true;
        }
        msg__message__free_unpacked(m, NULL);
    }
    peer_send_stop(&p);
    expect_down(&p, MSG__ACTOR__WATCHER);
    assert_int_equal(ew_actor_close(p.actor, NULL), EW_OK);
    peer_close(&p);
    client_delete_prefix("/alone/");
}

static void test_a_watcher_drops_other_messages(void **state) {
    (void)state;
    peer p;
    int64_t revision;
    peer_open(&p);
    start_watcher(&p, "/alone");
    read_snapshot(&p, &revision);
    for (size_t i = 0; i < NONSENSE; i++)
        send_raw(p.push, nonsense[i], strlen(nonsense[i]));
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Patches patches = MSG__PATCHES__INIT;
    Msg__Events events = MSG__EVENTS__INIT;
    m.patches = &patches;
    assert_int_equal(outbox_send(p.ob, &m), EW_OK);
    m.patches = NULL;
    m.events = &events;
    assert_int_equal(outbox_send(p.ob, &m), EW_OK);
    send_raw(p.push, "", 0);
    await_bad(p.actor, NONSENSE + 3);
    int64_t put = client_put("/alone/c", "3");
    for (bool seen = false; !seen;) {
        Msg__Message *got = peer_receive(&p);
        seen = got->events && got->events->revision == put;
        msg__message__free_unpacked(got, NULL);
    }
    peer_send_stop(&p);
    expect_down(&p, MSG__ACTOR__WATCHER);
    assert_int_equal(ew_actor_close(p.actor, NULL), EW_OK);
    peer_close(&p);
    client_delete_prefix("/alone/");
}

/* A receiver that is slow or missing stops only the watch. */
static void test_a_watcher_without_a_receiver(void **state) {
    (void)state;
    ew_actor *a;
    ew_options *o = env_options("/alone");
    client_put("/alone/a", "1");
    assert_int_equal(
        ew_watcher_open(&a, client_handle(), o, "inproc://actors-test/lonely", "inproc://actors-test/none", NULL),
        EW_OK);
    ew_options_free(o);
    for (int i = 0; i < 500; i++)
        client_put("/alone/a", "x");
    assert_int_equal(ew_actor_close(a, NULL), EW_OK);
    client_delete_prefix("/alone/");
}

/* ---- only a committer ---- */

static void start_committer(peer *p, const char *delete_counter) {
    ew_options *o = env_options("/alone");
    assert_int_equal(ew_options_set(o, "max_txn_bytes", "4096", NULL), EW_OK);
    assert_int_equal(ew_options_set(o, "delete_counter", delete_counter, NULL), EW_OK);
    assert_int_equal(ew_committer_open(&p->actor, client_handle(), o, p->actor_url, p->mailbox_url, NULL), EW_OK);
    ew_options_free(o);
    peer_connect(p);
}

enum { UNITS_MAX = 2, UNIT_BYTES = 8192 };

/* Sends a batch of packed units. */
static void send_batch(peer *p, uint64_t batch, uint8_t bytes[][UNIT_BYTES], const size_t *sizes, size_t count) {
    Msg__Unit units[UNITS_MAX], *list[UNITS_MAX];
    for (size_t i = 0; i < count; i++) {
        msg__unit__init(&units[i]);
        units[i].txn = (ProtobufCBinaryData){sizes[i], bytes[i]};
        units[i].groups = units[i].compares = units[i].ops = 1;
        list[i] = &units[i];
    }
    Msg__Patches patches = MSG__PATCHES__INIT;
    patches.batch = batch;
    patches.n_units = count;
    patches.units = list;
    Msg__Message m = MSG__MESSAGE__INIT;
    m.patches = &patches;
    assert_int_equal(outbox_send(p->ob, &m), EW_OK);
}

/* Sends a batch of one unit: put `key` = `value` if its mod_revision is `mod_revision`. */
static void send_put(peer *p, uint64_t batch, const char *key, const char *value, int64_t mod_revision) {
    uint8_t bytes[1][UNIT_BYTES];
    size_t size = client_pack_put(bytes[0], UNIT_BYTES, key, ew_str(value), mod_revision);
    send_batch(p, batch, bytes, &size, 1);
}

static Msg__Outcome expect_outcome(peer *p, uint64_t batch) {
    Msg__Message *m = peer_receive(p);
    assert_non_null(m->outcome);
    assert_int_equal(m->outcome->batch, batch);
    Msg__Outcome o = *m->outcome;
    o.detail = NULL; /* the message owns it, and the revisions */
    o.revisions = NULL;
    msg__message__free_unpacked(m, NULL);
    return o;
}

static void test_only_a_committer(void **state) {
    (void)state;
    peer p;
    peer_open(&p);
    start_committer(&p, "off");
    send_put(&p, 1, "/alone/a", "1", 0);
    Msg__Outcome o = expect_outcome(&p, 1);
    client_kv kv = client_get("/alone/a");
    assert_int_equal(o.status, EW_OK);
    assert_int_equal(o.units, 1);
    assert_int_equal(o.barrier_revision, kv.mod_revision);
    assert_string_equal(kv.value, "1");
    send_put(&p, 2, "/alone/a", "2", 0); /* the key exists now */
    o = expect_outcome(&p, 2);
    assert_int_equal(o.status, EW_ERR_REFUSED);
    assert_int_equal(o.units, 0);
    assert_int_equal(o.conflict_revision, kv.mod_revision);
    send_put(&p, 3, "/alone/a", "2", kv.mod_revision);
    o = expect_outcome(&p, 3);
    assert_int_equal(o.status, EW_OK);
    assert_string_equal(client_get("/alone/a").value, "2");
    assert_int_equal(client_count("/etcdworker/"), 0); /* no receipts: a committer alone has no lease for them */
    peer_send_stop(&p);
    expect_down(&p, MSG__ACTOR__COMMITTER);
    assert_int_equal(ew_actor_close(p.actor, NULL), EW_OK);
    peer_close(&p);
    client_delete_prefix("/alone/");
}

/* Packs a unit of exactly `size` bytes. */
static size_t pack_unit(uint8_t *out, const char *key, size_t size) {
    static char value[UNIT_BYTES];
    memset(value, 'x', sizeof value);
    size_t len = size - client_pack_put(out, UNIT_BYTES, key, (ew_slice){value, 0}, 0);
    while (client_pack_put(out, UNIT_BYTES, key, (ew_slice){value, len}, 0) > size) /* the encoded lengths grow too */
        len--;
    return client_pack_put(out, UNIT_BYTES, key, (ew_slice){value, len}, 0);
}

static Msg__Outcome commit_units(peer *p, uint64_t batch, size_t a, size_t b) {
    uint8_t bytes[UNITS_MAX][UNIT_BYTES];
    size_t sizes[UNITS_MAX] = {pack_unit(bytes[0], "/alone/a", a), b > 0 ? pack_unit(bytes[1], "/alone/b", b) : 0};
    assert_int_equal(sizes[0], a);
    assert_int_equal(sizes[1], b);
    client_delete_prefix("/alone/");
    send_batch(p, batch, bytes, sizes, b > 0 ? 2 : 1);
    return expect_outcome(p, batch);
}

/* SEMANTICS 26: the limit is exact: without delete counter and receipt the request is exactly the units' bytes. */
static void test_a_committers_limit_is_exact(void **state) {
    (void)state;
    peer p;
    peer_open(&p);
    start_committer(&p, "off");
    assert_int_equal(commit_units(&p, 1, 4096, 0).status, EW_OK);
    assert_int_equal(commit_units(&p, 2, 4097, 0).status, EW_ERR_TOO_LARGE);
    Msg__Outcome together = commit_units(&p, 3, 2048, 2048), apart = commit_units(&p, 4, 2048, 2049);
    assert_int_equal(together.status, EW_OK);
    assert_int_equal(together.txns, 1);
    assert_int_equal(apart.status, EW_OK);
    assert_int_equal(apart.txns, 2);
    ew_actor_close(p.actor, NULL);
    peer_close(&p);
    client_delete_prefix("/alone/");
}

static void test_a_committer_drops_other_messages(void **state) {
    (void)state;
    peer p;
    peer_open(&p);
    start_committer(&p, "compat");
    for (size_t i = 0; i < NONSENSE; i++)
        send_raw(p.push, nonsense[i], strlen(nonsense[i]));
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    m.outcome = &outcome;
    assert_int_equal(outbox_send(p.ob, &m), EW_OK);
    await_bad(p.actor, NONSENSE + 1);
    env_pause_etcd();
    send_put(&p, 1, "/alone/a", "1", 0);
    send_put(&p, 2, "/alone/b", "1", 0); /* one batch at a time */
    await_bad(p.actor, NONSENSE + 2);
    env_resume_etcd();
    assert_int_equal(expect_outcome(&p, 1).status, EW_OK);
    assert_false(client_get("/alone/b").present);
    peer_send_stop(&p);
    expect_down(&p, MSG__ACTOR__COMMITTER);
    assert_int_equal(ew_actor_close(p.actor, NULL), EW_OK);
    peer_close(&p);
    client_delete_prefix("/alone/");
}

/* A unit that is not a TxnRequest, or is truncated, is answered with an error, and nothing is written. */
static void test_a_committer_refuses_a_malformed_unit(void **state) {
    (void)state;
    static uint8_t garbage[] = {0xff, 0xff, 0x03, 'x', 'y'};
    peer p;
    peer_open(&p);
    start_committer(&p, "off");
    Msg__Unit unit = MSG__UNIT__INIT, *units[] = {&unit};
    unit.txn = (ProtobufCBinaryData){sizeof garbage, garbage};
    unit.groups = unit.compares = unit.ops = 1;
    Msg__Patches patches = MSG__PATCHES__INIT;
    patches.batch = 1;
    patches.n_units = 1;
    patches.units = units;
    Msg__Message m = MSG__MESSAGE__INIT;
    m.patches = &patches;
    int64_t revision = client_revision();
    assert_int_equal(outbox_send(p.ob, &m), EW_OK);
    Msg__Outcome o = expect_outcome(&p, 1);
    print_message("the answer to a malformed unit: %s\n", ew_errname(o.status));
    assert_int_not_equal(o.status, EW_OK);
    assert_int_equal(o.units, 0);
    assert_int_equal(client_revision(), revision);
    ew_actor_close(p.actor, NULL);
    peer_close(&p);
}

/* An actor that is stopped while its etcd does not answer still ends. */
static void test_stop_without_an_answer(void **state) {
    (void)state;
    peer p;
    peer_open(&p);
    start_committer(&p, "off");
    env_pause_etcd();
    send_put(&p, 1, "/alone/a", "1", 0);
    peer_send_stop(&p);
    Msg__Outcome o = expect_outcome(&p, 1);
    assert_int_equal(o.status, EW_ERR_UNKNOWN_OUTCOME);
    assert_true(o.unknown);
    env_resume_etcd();
    ew_actor_close(p.actor, NULL);
    peer_close(&p);
    client_delete_prefix("/alone/");
}

static void test_two_actors_at_one_url(void **state) {
    (void)state;
    peer p;
    ew_actor *second;
    ew_error err = {0};
    ew_options *o = env_options("/alone");
    peer_open(&p);
    start_watcher(&p, "/alone");
    assert_int_not_equal(ew_watcher_open(&second, client_handle(), o, p.actor_url, p.mailbox_url, &err), EW_OK);
    assert_null(second);
    assert_non_null(strstr(err.detail, p.actor_url));
    assert_int_not_equal(ew_committer_open(&second, client_handle(), o, "nonsense", p.mailbox_url, &err), EW_OK);
    assert_null(second);
    ew_options_free(o);
    assert_int_equal(ew_actor_close(p.actor, NULL), EW_OK);
    peer_close(&p);
}

/* ---- a worker's mailbox ---- */

static void mailbox_of(worker_fixture *f, const char *actor, char *out, size_t size) {
    snprintf(out, size, "inproc://etcdworker/%s/%s", ew_options_text(f->options, "name"), actor);
}

static bool has_bad(void *arg) {
    const void *const *both = arg;
    return worker_fixture_stats((worker_fixture *)(uintptr_t)both[0]).bad_messages >= *(const uint64_t *)both[1];
}

static int put_one(worker_fixture *f, ew_tick *t) {
    (void)f;
    return ew_group_put(ew_tick_group(t), EW_STR("/external/a"), EW_STR("1"));
}

static void send_message(nng_socket push, const Msg__Message *m) {
    uint8_t body[256];
    assert_true(msg__message__get_packed_size(m) <= sizeof body);
    send_raw(push, body, msg__message__pack(m, body));
}

static bool has_bad_and_is_ready(void *arg) {
    const void *const *both = arg;
    return has_bad(arg) && worker_fixture_stats((worker_fixture *)(uintptr_t)both[0]).ready;
}

static void await_bad_count(worker_fixture *f, uint64_t count) {
    const void *both[] = {f, &count};
    assert_true(env_until(has_bad, both));
}

/* Waits until this many bad messages are counted and the worker is ready again. */
static void await_healed(worker_fixture *f, uint64_t count) {
    const void *both[] = {f, &count};
    if (!env_until(has_bad_and_is_ready, both))
        fail_msg("%u of %u counted, ready %d", (unsigned)worker_fixture_stats(f).bad_messages, (unsigned)count,
                 worker_fixture_stats(f).ready);
}

static bool has_snapshots(void *arg) {
    const void *const *both = arg;
    return worker_fixture_stats((worker_fixture *)(uintptr_t)both[0]).snapshots > *(const uint64_t *)both[1];
}

static void await_loaded_again(worker_fixture *f, uint64_t snapshots) {
    const void *both[] = {f, &snapshots};
    assert_true(env_until(has_snapshots, both));
}

/* External messages to a worker's mailboxes are counted. Those that could be a message of its own actors are healed by
 * a load of the prefix. The run goes on. */
static void test_external_messages(void **state) {
    (void)state;
    worker_fixture f;
    worker_fixture_open(&f, "/external");
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    const char *const actors[] = {"reactor", "watcher", "committer"};
    uint64_t counted = 0;
    for (size_t a = 0; a < 3; a++) {
        char url[96];
        uint64_t snapshots = worker_fixture_stats(&f).snapshots;
        mailbox_of(&f, actors[a], url, sizeof url);
        nng_socket push = push_to(url);
        for (size_t i = 0; i < NONSENSE; i++, counted++)
            send_raw(push, nonsense[i], strlen(nonsense[i]));
        if (a == 0) { /* of a wrong type, of an old snapshot */
            Msg__Message m = MSG__MESSAGE__INIT;
            Msg__Patches patches = MSG__PATCHES__INIT;
            Msg__Events events = MSG__EVENTS__INIT;
            Msg__Snapshot snapshot = MSG__SNAPSHOT__INIT;
            Msg__Progress progress = MSG__PROGRESS__INIT;
            m.patches = &patches;
            send_message(push, &m);
            m.patches = NULL;
            events.revision = 1000000;
            m.events = &events;
            send_message(push, &m);
            m.events = NULL;
            snapshot.revision = 1000000;
            m.snapshot = &snapshot;
            send_message(push, &m);
            m.snapshot = NULL;
            progress.revision = 1000000;
            m.progress = &progress;
            send_message(push, &m);
            counted += 4;
        }
        await_loaded_again(&f, snapshots);
        await_healed(&f, counted);
        nng_close(push);
        /* the committer reports its own to the reactor, which counts them too */
        counted = worker_fixture_stats(&f).bad_messages;
    }
    worker_fixture_do(&f, put_one);
    assert_int_equal(client_get("/external/a").version, 1);
    assert_true(worker_fixture_stats(&f).revision < 1000000);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/external/a");
}

/* ---- forged messages ---- */

typedef struct forging {
    worker_fixture fixture;
    nng_socket push;
} forging;

static void forge_begin(forging *f, const char *actor) {
    char url[96];
    worker_fixture_open(&f->fixture, "/external");
    worker_fixture_start(&f->fixture);
    worker_fixture_await_ready(&f->fixture, true);
    mailbox_of(&f->fixture, actor, url, sizeof url);
    f->push = push_to(url);
}

static void forge_end(forging *f, int status, const char *detail) {
    int ended = worker_fixture_await_end(&f->fixture);
    if (ended != status || !strstr(f->fixture.err.detail, detail))
        fail_msg("%s: \"%s\", expected %s: \"%s\"", ew_errname(ended), f->fixture.err.detail, ew_errname(status),
                 detail);
    nng_close(f->push);
    assert_int_equal(worker_fixture_close(&f->fixture), status);
    client_delete_prefix("/external/");
}

/* Expects that the run goes on, becomes ready, and writes. */
static void forge_survives(forging *f) {
    worker_fixture_do(&f->fixture, put_one);
    assert_int_equal(client_get("/external/a").version, 1);
    worker_fixture_await_ready(&f->fixture, true);
    nng_close(f->push);
    assert_int_equal(worker_fixture_close(&f->fixture), EW_ERR_CANCELLED);
    client_delete_prefix("/external/");
}

/* Packs a put without a compare of a key outside the prefix: 57 bytes. */
static size_t pack_forged_put(uint8_t *out, size_t size, uint64_t batch, const char *key) {
    Pb__PutRequest put = PB__PUT_REQUEST__INIT;
    Pb__RequestOp op = PB__REQUEST_OP__INIT, *ops[] = {&op};
    Pb__TxnRequest txn = PB__TXN_REQUEST__INIT;
    uint8_t bytes[128];
    put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    txn.success = ops;
    txn.n_success = 1;
    Msg__Unit unit = MSG__UNIT__INIT, *units[] = {&unit};
    unit.txn = (ProtobufCBinaryData){pb__txn_request__pack(&txn, bytes), bytes};
    unit.groups = unit.ops = 1;
    Msg__Patches patches = MSG__PATCHES__INIT;
    patches.batch = batch;
    patches.units = units;
    patches.n_units = 1;
    Msg__Message m = MSG__MESSAGE__INIT;
    m.patches = &patches;
    assert_true(msg__message__get_packed_size(&m) <= size);
    return msg__message__pack(&m, out);
}

static void test_forged_patches(void **state) {
    (void)state;
    static const uint64_t batches[] = {1, 7, 0};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        forging f;
        uint8_t body[256];
        forge_begin(&f, "committer");
        send_raw(f.push, body, pack_forged_put(body, sizeof body, batches[i], "/outside/a"));
        await_healed(&f.fixture, 1); /* the reactor gets the outcome of a batch that it did not send */
        assert_false(client_get("/outside/a").present);
        if (batches[i] == 1) { /* this number is now used, so the reactor's own batch is refused */
            worker_fixture_begin(&f.fixture, put_one);
            forge_end(&f, EW_ERR_BAD_MESSAGE, "PATCHES: batch 1 after batch 1");
        } else {
            forge_survives(&f);
        }
        assert_false(client_get("/outside/a").present);
    }
}

/* The same for a committer alone, whose prefix is /alone. */
static void test_forged_patches_for_a_single_committer(void **state) {
    (void)state;
    peer p;
    uint8_t body[256];
    peer_open(&p);
    start_committer(&p, "off");
    send_raw(p.push, body, pack_forged_put(body, sizeof body, 1, "/outside/a"));
    assert_int_equal(expect_outcome(&p, 1).status, EW_ERR_BAD_MESSAGE);
    assert_false(client_get("/outside/a").present);
    ew_actor_close(p.actor, NULL);
    peer_close(&p);
}

static int hold(worker_fixture *f, ew_tick *t) {
    ew_group_put(ew_tick_group(t), EW_STR("/external/a"), EW_STR("1"));
    worker_fixture_hold(f);
    return EW_OK;
}

/* A second batch while one is in flight: the first is decided, and then the run ends. */
static void test_forged_patches_while_a_batch_is_in_flight(void **state) {
    (void)state;
    forging f;
    uint8_t body[256];
    forge_begin(&f, "committer");
    worker_fixture_begin(&f.fixture, hold);
    worker_fixture_await_held(&f.fixture);
    env_pause_etcd();
    worker_fixture_release(&f.fixture);
    /* The reactor's own batch comes before this one or after it: in both cases there are two. */
    send_raw(f.push, body, pack_forged_put(body, sizeof body, 1, "/external/b"));
    await_bad_count(&f.fixture, 1);
    env_resume_etcd();
    forge_end(&f, EW_ERR_BAD_MESSAGE, "PATCHES: batch 1, while another one is undecided");
}

/* Two bytes that demand an end, although no actor of the worker has sent them. */
static void test_two_bytes_to_the_reactor(void **state) {
    (void)state;
    static const char *const bodies[] = {"\x4a\x00", "\x42\x00",         "\x42\x02\x10\x01",
                                         "\x52\x00", "\x52\x02\x08\x02", "\x52\x02\x08\x07"};
    static const size_t sizes[] = {2, 2, 4, 2, 4, 4}; /* STOP, SESSION, and DOWN without a sender */
    forging f;
    forge_begin(&f, "reactor");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        send_raw(f.push, bodies[i], sizes[i]);
    await_healed(&f.fixture, 4);
    forge_survives(&f);
}

/* DOWN for a peer that still runs: the run ends with an error that says so. */
static void test_forged_down(void **state) {
    (void)state;
    forging f;
    forge_begin(&f, "reactor");
    send_raw(f.push, "\x52\x02\x08\x01", 4);
    forge_end(&f, EW_ERR_STATE, "DOWN: the watcher ended");
    forge_begin(&f, "reactor");
    send_raw(f.push, "\x52\x02\x08\x03\x52\x02\x08\x01", 8); /* in protobuf the last value counts */
    forge_end(&f, EW_ERR_STATE, "DOWN: the watcher ended");
    forge_begin(&f, "watcher");
    send_raw(f.push, "\x4a\x00", 2); /* STOP, which a watcher must obey */
    forge_end(&f, EW_ERR_STATE, "DOWN: the watcher ended");
}

static void send_progress(nng_socket push, int64_t revision) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Progress progress = MSG__PROGRESS__INIT;
    m.epoch = 1;
    progress.revision = revision;
    m.progress = &progress;
    send_message(push, &m);
}

/* A revision that etcd does not have would hide all later events. The first of them shows it, since it is below. */
static void test_forged_progress(void **state) {
    (void)state;
    forging f;
    forge_begin(&f, "reactor");
    send_progress(f.push, INT64_C(1) << 60);
    client_put("/external/x", "1");
    await_healed(&f.fixture, 1);
    assert_true(worker_fixture_stats(&f.fixture).revision < INT64_C(1) << 60);
    forge_survives(&f);
    forge_begin(&f, "reactor");
    send_progress(f.push, 1); /* an old revision */
    await_healed(&f.fixture, 1);
    forge_survives(&f);
}

static void send_events(nng_socket push, int64_t revision, int64_t mod_revision) {
    Pb__KeyValue kv = PB__KEY_VALUE__INIT;
    Pb__Event event = PB__EVENT__INIT, *events[] = {&event};
    Pb__WatchResponse r = PB__WATCH_RESPONSE__INIT;
    uint8_t bytes[128];
    static uint8_t key[] = "/external/phantom";
    kv.key = (ProtobufCBinaryData){sizeof key - 1, key};
    kv.mod_revision = mod_revision;
    event.kv = &kv;
    r.events = events;
    r.n_events = 1;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Events e = MSG__EVENTS__INIT;
    e.revision = revision;
    e.response = (ProtobufCBinaryData){pb__watch_response__pack(&r, bytes), bytes};
    m.epoch = 1;
    m.events = &e;
    send_message(push, &m);
}

static int look_for_phantom(worker_fixture *f, ew_tick *t) {
    ew_entry e;
    EXPECT(f, ew_tick_get(t, EW_STR("/external/phantom"), &e) == EW_ERR_NOT_FOUND);
    EXPECT(f, ew_tick_get(t, EW_STR("/external/x"), &e) == EW_OK);
    return EW_OK;
}

static void test_forged_events(void **state) {
    (void)state;
    forging f;
    forge_begin(&f, "reactor");
    send_events(f.push, 1000000, 2000000); /* events that contradict themselves */
    forge_end(&f, EW_ERR_BAD_MESSAGE,
              "EVENTS: revision 1000000, but the highest mod_revision of its events is 2000000");
    forge_begin(&f, "reactor");
    send_events(f.push, 1000000, 1000000); /* events that do not, but the next genuine ones contradict them */
    client_put("/external/x", "1");
    await_healed(&f.fixture, 1);
    worker_fixture_do(&f.fixture, look_for_phantom);
    forge_survives(&f);
    forge_begin(&f, "reactor");
    send_events(f.push, 2, 2); /* an old revision */
    await_healed(&f.fixture, 1);
    forge_survives(&f);
}

static void send_outcome(nng_socket push, uint64_t batch, uint32_t units) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Outcome o = MSG__OUTCOME__INIT;
    o.batch = batch;
    o.units = units;
    m.outcome = &o;
    send_message(push, &m);
}

static void test_forged_outcomes(void **state) {
    (void)state;
    forging f;
    forge_begin(&f, "reactor");
    send_outcome(f.push, 77, 1);
    await_healed(&f.fixture, 1);
    forge_survives(&f);
    forge_begin(&f, "reactor");
    worker_fixture_begin(&f.fixture, hold);
    worker_fixture_await_held(&f.fixture);
    env_pause_etcd();
    send_outcome(f.push, 1, 9); /* received after the tick, when batch 1, of one unit, is in flight */
    worker_fixture_release(&f.fixture);
    env_resume_etcd();
    forge_end(&f, EW_ERR_BAD_MESSAGE, "OUTCOME: 9 of 1 units");
}

/* A message of an old epoch, truncated at every length and with every byte changed: some are still valid messages, and
 * none may do harm. */
static void test_damaged_messages(void **state) {
    (void)state;
    worker_fixture f;
    char url[96];
    static uint8_t page[] = "\x12\x0a\x0a\x02/x\x18\x05\x2a\x02hi";
    worker_fixture_open(&f, "/external");
    worker_fixture_start(&f);
    worker_fixture_await_ready(&f, true);
    mailbox_of(&f, "reactor", url, sizeof url);
    nng_socket push = push_to(url);
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Snapshot snapshot = MSG__SNAPSHOT__INIT;
    Msg__Outcome outcome = MSG__OUTCOME__INIT;
    static char detail[] = "some text";
    snapshot.revision = 3;
    snapshot.page = (ProtobufCBinaryData){sizeof page - 1, page};
    m.snapshot = &snapshot;
    outcome.batch = 99;
    outcome.detail = detail;
    m.outcome = &outcome;
    uint8_t body[256], copy[256];
    size_t size = msg__message__pack(&m, body);
    for (size_t cut = 0; cut < size; cut++)
        send_raw(push, body, cut);
    for (size_t at = 0; at < size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(copy, body, size);
            copy[at] ^= (uint8_t)(1 << bit);
            /* A changed tag may make it the end of an actor, which the reactor would have to accept. */
            Msg__Message *changed = msg__message__unpack(NULL, size, copy);
            bool harmless = !changed || (!changed->down && changed->epoch == 0);
            if (changed)
                msg__message__free_unpacked(changed, NULL);
            if (harmless)
                send_raw(push, copy, size);
        }
    }
    worker_fixture_do(&f, put_one);
    nng_close(push);
    assert_true(worker_fixture_stats(&f).bad_messages > size);
    assert_int_equal(worker_fixture_close(&f), EW_ERR_CANCELLED);
    client_delete("/external/a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_only_a_watcher),
        env_test(test_a_watcher_drops_other_messages),
        env_test(test_a_watcher_without_a_receiver),
        env_test(test_only_a_committer),
        env_test(test_a_committers_limit_is_exact),
        env_test(test_a_committer_drops_other_messages),
        env_test(test_a_committer_refuses_a_malformed_unit),
        env_test(test_stop_without_an_answer),
        env_test(test_two_actors_at_one_url),
        env_test(test_external_messages),
        env_test(test_forged_patches),
        env_test(test_forged_patches_for_a_single_committer),
        env_test(test_forged_patches_while_a_batch_is_in_flight),
        env_test(test_two_bytes_to_the_reactor),
        env_test(test_forged_down),
        env_test(test_forged_progress),
        env_test(test_forged_events),
        env_test(test_forged_outcomes),
        env_test(test_damaged_messages),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
