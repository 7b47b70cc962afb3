/* etcdworkerd's log when stderr accepts nothing: the worker goes on, records are dropped and counted, and the process
 * ends when it is asked to. */
#include "lib/daemon.h"
#include "lib/etcd_server.h"
#include "lib/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static etcd_server *server;

static int set_up(void **state) {
    server = etcd_server_start(NULL);
    return daemon_open(state);
}

static int tear_down(void **state) {
    etcd_server_free(server);
    return daemon_close(state);
}

/* A daemon that logs much, with a small pipe as its stderr that is not read. */
typedef struct silenced {
    daemon_process d;
    int port;
    int read_end;
} silenced;

static silenced start_silenced(char *extra, char *more) {
    silenced s = {.port = etcd_free_port()};
    int ends[2];
    char endpoints[160], listen[64];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", server->endpoint);
    snprintf(listen, sizeof listen, "--http-listen=127.0.0.1:%d", s.port);
    char *arguments[] = {endpoints, listen, "--log-level=debug", "--tick-interval-ms=1", "--prefix=/log", extra,
                         more,      NULL};
    s.d = daemon_start_to(arguments, ends[1]);
    close(ends[1]);
    s.read_end = ends[0];
    return s;
}

static bool has_dropped(void *arg) {
    const silenced *s = arg;
    return daemon_metric(s->port, "log_records_dropped_total") > 0;
}

static void test_the_worker_goes_on(void **state) {
    (void)state;
    silenced s = start_silenced(NULL, NULL);
    daemon_until(has_dropped, &s, "a dropped record");
    daemon_await_ticks(s.port, 100);
    daemon_signal(&s.d, SIGTERM);
    assert_int_equal(daemon_wait(&s.d), 0);
    close(s.read_end);
}

/* The content of the pipe ends before the daemon's last record: stderr was blocked. */
static void assert_was_blocked(int fd) {
    char text[8192];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof text - 1 && (got = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    assert_in_range(len, 1, 4096);
    assert_null(strstr(text, "time limit reached"));
}

static void test_the_time_is_over(void **state) {
    (void)state;
    silenced s = start_silenced("--seconds=3", NULL);
    assert_int_equal(daemon_wait(&s.d), 0);
    assert_was_blocked(s.read_end);
    close(s.read_end);
}

static bool has_ended_by_signals(void *arg) {
    silenced *s = arg;
    int status;
    if (waitpid(s->d.pid, &status, WNOHANG) == s->d.pid) {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
        return true;
    }
    kill(s->d.pid, SIGTERM);
    return false;
}

static bool is_in_its_tick(void *arg) {
    const silenced *s = arg;
    return daemon_metric(s->port, "tick_running_ms") > 0;
}

/* The tick never ends, so only the second signal ends the process. */
static void test_forced_to_end(void **state) {
    (void)state;
    char reactor[600];
    snprintf(reactor, sizeof reactor, "--reactor=%s", daemon_built("plugins/stubborn.so"));
    silenced s = start_silenced(reactor, NULL);
    daemon_until(is_in_its_tick, &s, "the tick");
    daemon_until(has_ended_by_signals, &s, "the forced end");
    close(s.read_end);
}

/* Reads lines until one reports dropped records. Returns their number. */
static long long read_note(int fd) {
    FILE *f = fdopen(fd, "r");
    char line[8192];
    long long count = -1;
    while (count < 0 && fgets(line, sizeof line, f)) {
        assert_memory_equal(line, "time=", 5); /* whole lines only */
        assert_non_null(strchr(line, '\n'));
        const char *at = strstr(line, "msg=\"log records dropped\" area=service count=");
        if (at)
            count = strtoll(strstr(at, "count=") + 6, NULL, 10);
    }
    fclose(f);
    return count;
}

static void test_dropped_records_are_counted(void **state) {
    (void)state;
    silenced s = start_silenced(NULL, NULL);
    daemon_until(has_dropped, &s, "a dropped record");
    long long before = daemon_metric(s.port, "log_records_dropped_total");
    assert_true(read_note(s.read_end) >= before); /* and closes the pipe */
    daemon_await_ticks(s.port, 100);
    daemon_signal(&s.d, SIGTERM);
    assert_int_equal(daemon_wait(&s.d), 0);
}

/* ---- a closed or full stderr ---- */

static void expect_to_run_without(const char *redirection) {
    char script[100], endpoints[160], out[4096];
    snprintf(script, sizeof script, "exec \"$0\" \"$@\" %s", redirection);
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", server->endpoint);
    char *argv[] = {"sh",
                    "-c",
                    script,
                    (char *)daemon_built("etcdworkerd"),
                    endpoints,
                    "--seconds=1",
                    "--log-level=debug",
                    "--prefix=/log",
                    NULL};
    assert_int_equal(process_run(argv, out, sizeof out), 0);
}

static void test_no_stderr(void **state) {
    (void)state;
    expect_to_run_without("2>&-");
    expect_to_run_without("0<&- 1>&- 2>&-");
    expect_to_run_without("2>/dev/full");
}

/* The reader of the pipe closes it. */
static void test_a_broken_pipe(void **state) {
    (void)state;
    silenced s = start_silenced(NULL, NULL);
    close(s.read_end);
    daemon_until(has_dropped, &s, "a dropped record");
    daemon_await_ticks(s.port, 100);
    daemon_signal(&s.d, SIGTERM);
    assert_int_equal(daemon_wait(&s.d), 0);
}

/* ---- a stdout that accepts nothing ---- */

static void expect_failed_print(const char *option, const char *redirection) {
    char script[100], out[4096];
    snprintf(script, sizeof script, "\"$0\" %s %s; echo ended with $?", option, redirection);
    char *argv[] = {"sh", "-c", script, (char *)daemon_built("etcdworkerd"), NULL};
    assert_int_equal(process_run(argv, out, sizeof out), 0);
    if (strcmp(out, "ended with 1\n") != 0)
        fail_msg("%s %s: %s", option, redirection, out);
}

static void test_no_stdout(void **state) {
    (void)state;
    expect_failed_print("--help", "1>&-");
    expect_failed_print("--help", ">/dev/full");
    expect_failed_print("--version", "1>&-");
    expect_failed_print("--check-config", "1>&-");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_worker_goes_on), cmocka_unit_test(test_the_time_is_over),
        cmocka_unit_test(test_forced_to_end),      cmocka_unit_test(test_dropped_records_are_counted),
        cmocka_unit_test(test_no_stderr),          cmocka_unit_test(test_a_broken_pipe),
        cmocka_unit_test(test_no_stdout),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
