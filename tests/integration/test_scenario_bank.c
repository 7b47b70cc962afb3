/* TiCDC's Bank (SEMANTICS, scenarios): 25 accounts, ten workers, up to six random transfers in each tick, each a group
 * of two patches; one tick in five restarts its worker. For ten seconds the sum of the balances is zero at every tick
 * of every worker: first without faults, then with an etcd that is paused, killed and started again.
 *
 * A transfer that is applied twice keeps the sum at zero. So each group also increments a count of its worker, and the
 * group's callback counts too: both must agree (exactly once: SEMANTICS 28). */
#include "lib/scenario.h"

#include <stdio.h>
#include <stdlib.h>

enum { ACCOUNTS = 25, WORKERS = 10, MOST_TRANSFERS = 6, LENGTH_MS = 10000 };

typedef struct teller {
    pthread_t thread;
    unsigned number;
    ew_client *client;
    int64_t until_ms;
    uint64_t random;
    uint64_t ticks, runs, made, committed, unknown;
    char count_key[32];
    char problem[128];
} teller;

static uint64_t roll(teller *b, uint64_t sides) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random % sides;
}

static int change_by(void *arg, const ew_entry *current, ew_value *next) {
    const int64_t *amount = arg;
    int64_t balance = 0;
    if (current && !ew_slice_int(current->value, &balance))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, balance + *amount);
}

static int64_t *number(int64_t n) {
    int64_t *out = malloc(sizeof *out);
    if (out)
        *out = n;
    return out;
}

static void decided(void *arg, ew_status status, int64_t revision) {
    teller *b = arg;
    (void)revision;
    b->committed += status == EW_OK;
    b->unknown += status == EW_ERR_UNKNOWN_OUTCOME;
}

static void change(ew_group *g, const char *key, int64_t amount) {
    ew_group_modify(g, ew_str(key), change_by, number(amount), free);
}

static void transfer_once(teller *b, ew_tick *t) {
    char from[32], to[32];
    uint64_t a = roll(b, ACCOUNTS), c = (a + 1 + roll(b, ACCOUNTS - 1)) % ACCOUNTS;
    snprintf(from, sizeof from, "/bank/account/%02u", (unsigned)a);
    snprintf(to, sizeof to, "/bank/account/%02u", (unsigned)c);
    int64_t amount = (int64_t)roll(b, 100);
    ew_group *g = ew_tick_group(t);
    change(g, from, -amount);
    change(g, to, amount);
    change(g, b->count_key, 1);
    ew_group_on_done(g, decided, b);
    b->made++;
}

static int bank_tick(void *self, ew_tick *t) {
    teller *b = self;
    int64_t sum = 0, balance = 0;
    size_t accounts = 0;
    ew_entry e = {0};
    b->ticks++;
    for (; ew_tick_scan(t, EW_STR("/bank/account/"), &e); accounts++) {
        if (!ew_slice_int(e.value, &balance))
            snprintf(b->problem, sizeof b->problem, "an account is not a number");
        sum += balance;
    }
    if ((sum != 0 || accounts > ACCOUNTS) && b->problem[0] == '\0')
        snprintf(b->problem, sizeof b->problem, "%zu accounts have the sum %lld at revision %lld", accounts,
                 (long long)sum, (long long)ew_tick_revision(t));
    if (env_now_ms() > b->until_ms)
        return EW_FINISHED;
    for (uint64_t i = roll(b, MOST_TRANSFERS + 1); i > 0; i--)
        transfer_once(b, t);
    if (roll(b, 5) != 0)
        return EW_OK;
    return roll(b, 2) == 0 ? EW_FINISHED : EW_ERR_REACTOR; /* with its transfers and without */
}

static void run_once(teller *b) {
    static const ew_reactor reactor = EW_REACTOR(.tick = bank_tick);
    ew_options *o = ew_options_new();
    char name[32];
    ew_worker *w = NULL;
    ew_error err = {0};
    snprintf(name, sizeof name, "teller%u", b->number);
    ew_options_set(o, "name", name, NULL);
    ew_options_set(o, "prefix", "/bank", NULL);
    ew_options_set(o, "tick_interval_ms", "20", NULL);
    int status = ew_worker_open(&w, o, &reactor, b, &err);
    if (status == EW_OK)
        status = ew_worker_set_client(w, b->client);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    if (status != EW_OK && status != EW_ERR_REACTOR && b->problem[0] == '\0')
        snprintf(b->problem, sizeof b->problem, "%s: %.80s", ew_errname(status), err.detail);
    ew_worker_close(w);
    ew_options_free(o);
    b->runs++;
}

static void *work(void *arg) {
    teller *b = arg;
    while (env_now_ms() < b->until_ms && b->problem[0] == '\0')
        run_once(b);
    return NULL;
}

static void open_bank(teller *tellers, int64_t length_ms) {
    client_delete_prefix("/bank/");
    for (unsigned i = 0; i < WORKERS; i++) {
        tellers[i] = (teller){.number = i,
                              .client = client_handle(),
                              .until_ms = env_now_ms() + length_ms,
                              .random = 88172645463325252u + i};
        snprintf(tellers[i].count_key, sizeof tellers[i].count_key, "/bank/count/%u", i);
        assert_int_equal(pthread_create(&tellers[i].thread, NULL, work, &tellers[i]), 0);
    }
}

static void close_bank(teller *tellers) {
    uint64_t ticks = 0, runs = 0, committed = 0, unknown = 0;
    int64_t balance = 0, sum = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(tellers[i].thread, NULL);
    for (unsigned i = 0; i < WORKERS; i++) {
        const teller *b = &tellers[i];
        if (b->problem[0] != '\0')
            fail_msg("teller %u: %s", i, b->problem);
        int64_t count = 0;
        client_kv kv = client_get(b->count_key);
        assert_true(!kv.present || ew_slice_int(ew_str(kv.value), &count));
        if ((uint64_t)count < b->committed || (uint64_t)count > b->committed + b->unknown)
            fail_msg("teller %u: %lld transfers in etcd, %llu reported as committed, %llu as unknown", i,
                     (long long)count, (unsigned long long)b->committed, (unsigned long long)b->unknown);
        assert_true(b->ticks > 0 && b->committed > 0);
        ticks += b->ticks;
        runs += b->runs;
        committed += b->committed;
        unknown += b->unknown;
    }
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char key[32];
        snprintf(key, sizeof key, "/bank/account/%02u", i);
        client_kv kv = client_get(key);
        assert_true(!kv.present || ew_slice_int(ew_str(kv.value), &balance));
        sum += kv.present ? balance : 0;
    }
    assert_int_equal(sum, 0);
    print_message("%llu ticks, %llu runs, %llu transfers, %llu unknown\n", (unsigned long long)ticks,
                  (unsigned long long)runs, (unsigned long long)committed, (unsigned long long)unknown);
}

static void test_the_balances_add_up_to_zero(void **state) {
    (void)state;
    teller tellers[WORKERS];
    open_bank(tellers, LENGTH_MS);
    close_bank(tellers);
}

static bool is_past(void *arg) {
    return env_now_ms() >= *(int64_t *)arg;
}

static void test_the_balances_add_up_to_zero_with_faults(void **state) {
    (void)state;
    teller tellers[WORKERS];
    int64_t at_ms = env_now_ms();
    open_bank(tellers, LENGTH_MS);
    for (int i = 0; i < 3; i++) { /* the faults follow the clock, as the ten seconds do */
        at_ms += 1500;
        env_until(is_past, &at_ms);
        env_pause_etcd();
        at_ms += 700;
        env_until(is_past, &at_ms);
        env_resume_etcd();
        at_ms += 700;
        env_until(is_past, &at_ms);
        env_kill_etcd();
        env_start_etcd();
        at_ms = env_now_ms();
    }
    close_bank(tellers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_the_balances_add_up_to_zero),
        env_test(test_the_balances_add_up_to_zero_with_faults),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
