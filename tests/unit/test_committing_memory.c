/* Each allocation of the committing core fails in turn. Every batch still gets an outcome, and the outcome is true. The
 * sources are compiled into this program with an allocator that fails on demand. */
#include "unit/failing_memory.h"

#define malloc(size)        failing_malloc(size)
#define calloc(count, size) failing_calloc(count, size)
#define realloc(old, size)  failing_realloc(old, size)
#include "core/arena.c"

#include "core/committing.c"
#include "core/committing_answer.c"
#include "core/committing_batch.c"
#include "core/committing_resolve.c"
#include "core/committing_txn.c"
#undef malloc
#undef calloc
#undef realloc
#include "unit/committing_fixture.h"

static void play(world *w) {
    static const char *const keys[] = {"/a/x", "/a/y", "/a/z"};
    static char value[20000];
    for (uint64_t number = 1; number <= 3; number++) {
        /* The atomic units that are refused are so large that reading them needs an allocation. */
        memset(value, 'v', sizeof value);
        value[number == 2 ? sizeof value - 1 : 90] = '\0';
        batch *b = batch_new(number, 0);
        for (int i = 0; i < 3; i++)
            batch_put(b, keys[i], tiny_mod(&w->etcd, keys[i]), value);
        batch_key(b, "/a/more", tiny_mod(&w->etcd, "/a/more"), value);
        give(w, b);
        if (w->has_outcome) {
            assert_outcome(w, EW_ERR_NO_MEMORY, 0);
            assert_false(w->outcome.unknown);
            continue;
        }
        if (number == 2)
            tiny_put(&w->etcd, "/a/z", "external");
        answer_status(w, EW_ERR_UNKNOWN_OUTCOME);
        while (!w->has_outcome) {
            if (w->txn)
                applied(w);
            else
                wait_timer(w);
        }
        /* The first two atomic units are committed together. Without memory they are not sent. */
        if (w->outcome.status == EW_ERR_NO_MEMORY)
            assert_int_equal(w->outcome.units, 0);
        else
            assert_outcome(w, number == 2 ? EW_ERR_REFUSED : EW_OK, number == 2 ? 2 : 3);
    }
}

static bool play_failing(long n, bool claims) {
    world *w = calloc(1, sizeof *w);
    w->config = plain_config;
    w->etcd.revision = 1;
    /* A fence condition that always holds: the key is absent. It is too long for the first buffers. */
    static uint8_t bytes[3100], name[3000] = "/none";
    Pb__Compare compare = PB__COMPARE__INIT, *compares[] = {&compare};
    Pb__TxnRequest fence = PB__TXN_REQUEST__INIT;
    compare.target = PB__COMPARE__COMPARE_TARGET__CREATE;
    compare.target_union_case = PB__COMPARE__TARGET_UNION_CREATE_REVISION;
    memset(name + 5, 'n', sizeof name - 5);
    compare.key = (ProtobufCBinaryData){sizeof name, name};
    fence.compare = compares;
    fence.n_compare = 1;
    w->config.fence = (ew_slice){bytes, pb__txn_request__pack(&fence, bytes)};
    w->config.fence_compares = 1;
    const int64_t overhead = committing_overhead(&w->config);
    fail_in = n;
    assert_true(committing_overhead(&w->config) >= overhead);
    w->c = committing_new(&w->config);
    if (w->c && claims)
        replace_lease(w, LEASE + 1); /* before the first transaction the receipt is put with it */
    if (w->c)
        play(w);
    bool reached = fail_in < 0;
    fail_in = -1;
    world_free(w);
    return reached;
}

static void test_memory(void **state) {
    (void)state;
    for (int claims = 0; claims < 2; claims++) {
        long n = 0;
        while (play_failing(n, claims))
            n++;
        assert_true(n > 8);
    }
}

static void test_free_nothing(void **state) {
    (void)state;
    committing_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory), cmocka_unit_test(test_free_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
