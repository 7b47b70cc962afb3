/* etcdworkerd as a user sees it: its output, its exit status, and that it leaves no files. */
#include "lib/daemon.h"
#include "lib/process.h"

#include <etcdworker/version.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ARGS(...) ((char *const[]){__VA_ARGS__, NULL})

static char out[65536];

static void expect(int status, const char *text, char *const *arguments) {
    int code = daemon_run(arguments, out, sizeof out);
    if (code != status || !strstr(out, text))
        fail_msg("status %d, expected %d with '%s'; the output:\n%s", code, status, text, out);
}

static char *plugin(const char *name) {
    static char flags[4][600];
    static int next;
    char *flag = flags[next++ % 4];
    char file[100];
    snprintf(file, sizeof file, "plugins/%s.so", name);
    snprintf(flag, sizeof flags[0], "--reactor=%s", daemon_built(file));
    return flag;
}

/* ---- without etcd ---- */

static void test_help_and_version(void **state) {
    (void)state;
    expect(0, "--tick-interval-ms=N\n", ARGS("--help"));
    assert_non_null(strstr(out, "(1 to 86400000 milliseconds; default 1000)"));
    assert_non_null(strstr(out, "Exit status:"));
    expect(0, "etcdworkerd " EW_VERSION, ARGS("--version"));
}

static void test_check_config(void **state) {
    (void)state;
    expect(0, "\nprefix = /app  ; flag\n", ARGS("--check-config", "--prefix=/app"));
    expect(78, "separate endpoints by commas", ARGS("--check-config", "--endpoints=not an endpoint at all"));
    expect(78, "option http_listen: 'nowhere' is not host:port,", ARGS("--check-config", "--http-listen=nowhere"));
    expect(78, "url_prefix = \"ipc:///tmp/x\": must begin with inproc://",
           ARGS("--check-config", "--url-prefix=ipc:///tmp/x"));
    expect(78, "use tls+tcp://", ARGS("--check-config", "--submit", "--submit-url=tcp://0.0.0.0:1"));
    expect(78, "ticks_url is set, but publish_ticks is off", ARGS("--check-config", "--ticks-url=inproc://x"));
    expect(0, "\nsubmit_url = tcp://127.0.0.1:1  ; flag\n",
           ARGS("--check-config", "--submit", "--submit-url=tcp://127.0.0.1:1"));
    expect(78, "option reactor: 'nix'", ARGS("--check-config", "--reactor=nix"));
    expect(78, "no symbol etcdworker_plugin", ARGS("--check-config", plugin("no_symbol")));
    expect(0, "stubborn.so", ARGS("--check-config", plugin("stubborn")));
}

static void test_wrong_command_line(void **state) {
    (void)state;
    expect(2, "etcdworkerd: unknown or ambiguous option '--bogus'", ARGS("--bogus"));
    expect(2, "--page-bytes: option page_bytes: '1'", ARGS("--page-bytes=1"));
}

static void test_wrong_config_file(void **state) {
    (void)state;
    char path[200], flag[220], wanted[300];
    snprintf(path, sizeof path, "%s/etcdworker.conf", daemon_directory());
    snprintf(flag, sizeof flag, "--config=%s", path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("prefix = /app\nthis is no setting\nbogus = 1\n", f);
    fclose(f);
    snprintf(wanted, sizeof wanted, "etcdworkerd: %s:2: expected", path);
    expect(78, wanted, ARGS(flag));
    snprintf(wanted, sizeof wanted, "etcdworkerd: %s:3: unknown option 'bogus'", path);
    assert_non_null(strstr(out, wanted));
    expect(78, wanted, ARGS("--check-config", flag));
    expect(78, "No such file", ARGS("--config=/no/such/file"));
}

static void test_wrong_plugins(void **state) {
    (void)state;
    expect(78, "no_such.so", ARGS("--reactor=./no_such.so"));
    expect(78, "a plugin needs a path with a slash: ./mine.so", ARGS("--reactor=mine.so"));
    expect(78, "no_symbol.so: no symbol etcdworker_plugin; define it with EW_PLUGIN", ARGS(plugin("no_symbol")));
    expect(78, "other_abi.so: built for plugin ABI 3, but this etcdworkerd has ABI 2", ARGS(plugin("other_abi")));
    expect(78, "no_tick.so: the plugin table has no name", ARGS(plugin("no_tick")));
    expect(1, "plugin stubborn: asked to fail", ARGS(plugin("stubborn"), "--reactor-args=fail"));
}

/* A plugin knows its worker and prefix, logs like the library, and gives a reason when it fails. */
static void test_log_and_error_of_a_plugin(void **state) {
    (void)state;
    expect(1, "detail=\"the oven is cold at revision one\"",
           ARGS("--dev", plugin("one_tick"), "--reactor-args=tell", "--prefix=cake/", "--name=baker", "--seconds=60"));
    assert_non_null(strstr(out, "level=info msg=\"created for baker below /cake\" worker=baker area=app\n"));
    assert_non_null(strstr(out, "level=info msg=\"ticked below /cake\" worker=baker area=app\n"));
}

static void test_no_etcd_to_start(void **state) {
    (void)state;
    expect(78, "no program 'no-such-etcd' in PATH", ARGS("--dev", "--etcd-path=no-such-etcd"));
    expect(78, "/etc/passwd is not an executable file", ARGS("--dev", "--etcd-path=/etc/passwd"));
    expect(75, "the private etcd exited", ARGS("--dev", "--etcd-path=/bin/false"));
    expect(78, "option demo: requires option dev", ARGS("--demo"));
}

/* Without these errors an option would be ignored silently, or the daemon would wait silently. */
static void test_options_that_exclude_each_other(void **state) {
    (void)state;
    static char *const wrong[][4] = {
        {"--dev", "--endpoints=127.0.0.1:2379", NULL, "option endpoints: 127.0.0.1:2379 conflicts with option dev"},
        {"--dev-data=/nowhere", "--name=x", NULL, "option dev_data: requires option dev"},
        {"--elect=/app", "--prefix=/app", NULL, "option elect: candidates of '/app' would mix with"},
        {"--elect=/app", "--prefix=app/below/", NULL, "option elect: candidates of '/app' would mix with"},
        {"--elect=/app/members", "--prefix=/app", NULL, "option elect: candidates of '/app/members' would mix with"},
        {"--elect=/app/by-member", "--prefix=/app", NULL,
         "option elect: candidates of '/app/by-member' would mix with"},
        {"--elect=/tasks/x", "--prefix=", NULL, "option elect: candidates of '/tasks/x' would mix with"},
        {"--elect=/etcdworker", "--prefix=/app", NULL, "option elect: candidates of '/etcdworker' would mix with"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        expect(78, wrong[i][3], ARGS(wrong[i][0], wrong[i][1]));
        expect(78, wrong[i][3], ARGS("--check-config", wrong[i][0], wrong[i][1]));
    }
    expect(0, "elect", ARGS("--check-config", "--elect=/app/seat", "--prefix=/app"));
    expect(0, "elect", ARGS("--check-config", "--elect=/apple", "--prefix=/app"));
    expect(0, "elect", ARGS("--check-config", "--elect=/app", "--prefix=/apple"));
    expect(0, "elect", ARGS("--check-config", "--elect=/app/tasks", "--prefix=/app", "--reactor=none"));
}

/* A configured file that cannot be read is a configuration error, whatever it is for. */
static void test_files_that_cannot_be_read(void **state) {
    (void)state;
    static char *const wrong[][2] = {
        {"--ca-file=/no/such/ca", "ca_file /no/such/ca: No such file"},
        {"--ca-file=/", "ca_file /: Is a directory"},
        {"--cert-file=/no/such/cert", "cert_file /no/such/cert: No such file"},
        {"--key-file=/no/such/key", "key_file /no/such/key: No such file"},
        {"--password-file=/no/such/word", "password_file /no/such/word: No such file"},
        {"--listen-cert-file=/no/such/cert", "listen_cert_file /no/such/cert: No such file"},
        {"--listen-key-file=/no/such/key", "listen_key_file /no/such/key: No such file"},
        {"--listen-ca-file=/no/such/ca", "listen_ca_file /no/such/ca: No such file"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        expect(78, wrong[i][1], ARGS(wrong[i][0], "--user=u"));
        expect(78, wrong[i][1], ARGS("--check-config", wrong[i][0], "--user=u"));
    }
}

static void test_no_etcd_to_connect_to(void **state) {
    (void)state;
    /* Port 1 of the loopback address, on which no server listens. */
    expect(75, "unavailable",
           ARGS("--endpoints=127.0.0.1:1", "--start-timeout-ms=300", "--call-timeout-ms=200", "--seconds=60"));
}

/* ---- with a private etcd ---- */

static void test_dev_for_some_seconds(void **state) {
    (void)state;
    expect(0, "why=\"time limit reached\"", ARGS("--dev", "--seconds=2", "--prefix=/app"));
    assert_int_equal(daemon_processes(daemon_directory()), 0);
}

static void test_dev_keeps_data_in_the_given_directory(void **state) {
    (void)state;
    char data[200], flag[220], path[260];
    struct stat st;
    snprintf(data, sizeof data, "%s/kept", daemon_directory());
    snprintf(flag, sizeof flag, "--dev-data=%s", data);
    for (int i = 0; i < 2; i++) { /* the second run finds what the first one left */
        expect(0, "level=info", ARGS("--dev", "--seconds=1", flag));
        snprintf(path, sizeof path, "%s/data/member", data);
        assert_int_equal(stat(path, &st), 0);
    }
    assert_int_equal(process_run(ARGS("rm", "-r", data), NULL, 0), 0);
}

static void test_each_signal_stops_it(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        daemon_process d = daemon_start(ARGS("--dev", "--prefix=/app"));
        daemon_await(&d, "msg=started");
        daemon_signal(&d, signals[i]);
        assert_int_equal(daemon_wait(&d), 0);
        assert_int_equal(daemon_processes(daemon_directory()), 0);
    }
}

static void test_a_signal_while_the_private_etcd_starts(void **state) {
    (void)state;
    daemon_process d = daemon_start(ARGS("--dev", "--prefix=/app"));
    daemon_await(&d, "etcdworkerd starts");
    daemon_signal(&d, SIGTERM);
    assert_int_equal(daemon_wait(&d), 0);
    assert_int_equal(daemon_processes(daemon_directory()), 0);
}

static bool nothing_is_left(void *arg) {
    (void)arg;
    return daemon_processes(daemon_directory()) == 0;
}

static void test_a_second_signal_forces_it(void **state) {
    (void)state;
    daemon_process d = daemon_start(ARGS("--dev", plugin("stubborn")));
    daemon_await(&d, "stubborn: ticking");
    daemon_signal(&d, SIGTERM);
    daemon_await(&d, "msg=stopping");
    daemon_signal(&d, SIGTERM);
    assert_int_equal(daemon_wait(&d), 1);
    daemon_until(nothing_is_left, NULL, "the end of the private etcd");
}

static void test_kill_leaves_nothing(void **state) {
    (void)state;
    daemon_process d = daemon_start(ARGS("--dev", "--prefix=/app"));
    daemon_await(&d, "msg=started");
    assert_true(daemon_processes(daemon_directory()) > 0);
    daemon_signal(&d, SIGKILL);
    assert_int_equal(daemon_wait(&d), 128 + SIGKILL);
    daemon_until(nothing_is_left, NULL, "the end of the private etcd");
}

static void test_a_reactor_that_finishes(void **state) {
    (void)state;
    expect(0, "stubborn: ticking", ARGS("--dev", plugin("stubborn"), "--reactor-args=finish", "--seconds=60"));
    assert_null(strstr(out, "time limit reached"));
}

static void test_the_demo_prints_changes(void **state) {
    (void)state;
    expect(0, "revision 2: m1 joined\n", ARGS("--dev", "--demo", "--seconds=8"));
    assert_non_null(strstr(out, ": t12 nobody->m"));
    assert_non_null(strstr(out, ": m4 joined\n"));
    assert_non_null(strstr(out, "->m4\n"));
}

static void test_logs_in_json(void **state) {
    (void)state;
    expect(0, "\"msg\":\"etcdworkerd ends\"", ARGS("--dev", "--seconds=1", "--log-format=json"));
    for (char *rest = NULL, *line = strtok_r(out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        assert_memory_equal(line, "{\"time\":\"", 9);
        assert_string_equal(line + strlen(line) - 1, "}");
    }
    expect(0, "", ARGS("--dev", "--seconds=1", "--log-level=error"));
    assert_string_equal(out, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_check_config),
        cmocka_unit_test(test_wrong_command_line),
        cmocka_unit_test(test_wrong_config_file),
        cmocka_unit_test(test_wrong_plugins),
        cmocka_unit_test(test_log_and_error_of_a_plugin),
        cmocka_unit_test(test_no_etcd_to_start),
        cmocka_unit_test(test_options_that_exclude_each_other),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_no_etcd_to_connect_to),
        cmocka_unit_test(test_dev_for_some_seconds),
        cmocka_unit_test(test_dev_keeps_data_in_the_given_directory),
        cmocka_unit_test(test_each_signal_stops_it),
        cmocka_unit_test(test_a_signal_while_the_private_etcd_starts),
        cmocka_unit_test(test_a_second_signal_forces_it),
        cmocka_unit_test(test_kill_leaves_nothing),
        cmocka_unit_test(test_a_reactor_that_finishes),
        cmocka_unit_test(test_the_demo_prints_changes),
        cmocka_unit_test(test_logs_in_json),
    };
    return cmocka_run_group_tests(tests, daemon_open, daemon_close);
}
