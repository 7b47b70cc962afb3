/* Closing sockets while nng's reaper is stuck: this test replaces nng_close with a function that waits as the test
 * orders. */
#include "actors/mailbox_listening.h"

#include "etcd/etcd.h"

#include <etcdworker/log.h>

#include <dlfcn.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { WAIT_MS = 30000, LIMIT_MS = 5000, SLOW_MS = 1000, TRIES = 10 };

static pthread_t main_thread;
static atomic_int errors; /* log records */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the next four */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum { QUICK, SLOW, HELD } reaper;
static int closing;        /* calls of nng_close that have not ended */
static bool waited_itself; /* the main thread's: it called nng_close while the reaper was held */

static void set_reaper(int how) {
    pthread_mutex_lock(&lock);
    reaper = how;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Replaces nng's function, and calls it after the wait. */
int nng_close(nng_socket s) {
    int (*real)(nng_socket);
    *(void **)&real = dlsym(RTLD_NEXT, "nng_close");
    pthread_mutex_lock(&lock);
    closing++;
    bool waits = reaper == HELD && pthread_equal(pthread_self(), main_thread);
    if (waits) {
        waited_itself = true;
        reaper = QUICK; /* so that the test fails and ends */
    }
    pthread_cond_broadcast(&changed);
    while (reaper == HELD)
        pthread_cond_wait(&changed, &lock);
    bool slow = reaper == SLOW;
    pthread_mutex_unlock(&lock);
    if (slow)
        nanosleep(&(struct timespec){SLOW_MS / 1000, 0}, NULL);
    int rv = real(s);
    pthread_mutex_lock(&lock);
    closing--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return rv;
}

static void await_all_closed(void) {
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&lock);
    while (closing > 0 && late == 0)
        late = pthread_cond_timedwait(&changed, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(late, 0);
}

static void on_log(void *arg, const ew_log_record *r) {
    (void)arg;
    (void)r;
    atomic_fetch_add(&errors, 1);
}

static nng_socket open_socket(void) {
    nng_socket s;
    assert_int_equal(nng_req0_open(&s), 0);
    return s;
}

/* No thread can be started with a stack of this size. */
static void set_threads(bool can_be_started) {
    static size_t size;
    pthread_attr_t attr;
    assert_int_equal(pthread_getattr_default_np(&attr), 0);
    if (size == 0)
        assert_int_equal(pthread_attr_getstacksize(&attr, &size), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, can_be_started ? size : (size_t)1 << 46), 0);
    assert_int_equal(pthread_setattr_default_np(&attr), 0);
    pthread_attr_destroy(&attr);
}

static void test_the_reaper_is_stuck_and_works_again(void **state) {
    (void)state;
    mailbox_is_outward();
    ew_log_set(on_log, NULL, EW_LOG_ERROR);
    assert_true(mailbox_close_socket(open_socket(), NULL));
    set_reaper(HELD);
    assert_false(mailbox_close_socket(open_socket(), NULL));

    /* While the reaper is stuck, the next close has less time, and without a thread the caller does not close. */
    int64_t start_ms = etcd_now_ms();
    assert_false(mailbox_close_socket(open_socket(), NULL));
    assert_true(etcd_now_ms() - start_ms < LIMIT_MS);
    set_threads(false);
    nng_socket left = open_socket();
    bool left_closed = mailbox_close_socket(left, NULL);
    set_threads(true);
    assert_false(waited_itself);
    assert_false(left_closed);

    /* Both closes end after all. Once their threads have noted that, a close that takes a second is in time again. */
    set_reaper(SLOW);
    bool closed = false;
    for (int i = 0; i < TRIES && !closed; i++) {
        await_all_closed();
        closed = mailbox_close_socket(open_socket(), NULL);
    }
    assert_true(closed);
    set_reaper(QUICK);
    assert_true(mailbox_close_socket(left, NULL));
    ew_log_set(NULL, NULL, EW_LOG_WARN);
    assert_int_equal(atomic_load(&errors), 1);
}

static void test_without_a_thread(void **state) {
    (void)state;
    set_threads(false);
    assert_true(mailbox_close_socket(open_socket(), NULL));
    set_threads(true);
}

static void count_dropped(void *arg, const ew_log_record *r) {
    atomic_fetch_add((atomic_int *)arg, strcmp(r->message, "connection dropped") == 0);
}

/* Connects to a socket for requests and disconnects without a request, until the log function counts it. */
static bool is_counted(const char *url, atomic_int *count) {
    nng_socket s;
    bool found = false;
    for (int i = 0; i < 100 * TRIES && !found; i++) {
        assert_int_equal(nng_req0_open(&s), 0);
        assert_int_equal(nng_dial(s, url, NULL, 0), 0);
        int (*real)(nng_socket);
        *(void **)&real = dlsym(RTLD_NEXT, "nng_close");
        real(s);
        nng_msleep(10);
        found = atomic_load(count) > 0;
    }
    return found;
}

/* The records of a socket that stays open go to the process's function, because the worker's may be gone. */
static void test_a_socket_that_stays_open_has_no_owner(void **state) {
    (void)state;
    static atomic_int owners, process;
    char url[64];
    const log_source owner = {"w1", {count_dropped, &owners, EW_LOG_WARN}};
    mailbox *mb;
    snprintf(url, sizeof url, "ipc:///tmp/ew_mailbox_close.%d", (int)getpid());
    const mailbox_place place = {.url = url, .log = &owner, .max_bytes = 1000};
    ew_log_set(count_dropped, &process, EW_LOG_WARN);
    assert_int_equal(mailbox_open(&mb, "inproc://mailbox_close", 8, NULL, NULL, NULL), EW_OK);
    assert_int_equal(mailbox_serve(mb, &place, 1, NULL), EW_OK);
    assert_true(is_counted(url, &owners));
    assert_int_equal(atomic_load(&process), 0);

    set_reaper(HELD);
    mailbox_close(mb);
    int before = atomic_load(&owners);
    assert_true(is_counted(url, &process));
    assert_int_equal(atomic_load(&owners), before);
    set_reaper(QUICK);
    await_all_closed();
    ew_log_set(NULL, NULL, EW_LOG_WARN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_reaper_is_stuck_and_works_again),
        cmocka_unit_test(test_without_a_thread),
        cmocka_unit_test(test_a_socket_that_stays_open_has_no_owner),
    };
    main_thread = pthread_self();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
