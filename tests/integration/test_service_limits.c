/* etcdworkerd under system limits: a limit that is too low is named, with the number that is needed, and that number is
 * enough. */
#include "lib/daemon.h"
#include "lib/etcd_server.h"
#include "lib/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static etcd_server *server;
static char out[65536];
static char folder[] = "/tmp/etcdworker-limits-XXXXXX", program[64];

/* Copies the program to where every user can run it: the build directory may be below one that only root can read. */
static void copy_program(void) {
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0755), 0);
    snprintf(program, sizeof program, "%s/etcdworkerd", folder);
    if (process_run((char *[]){"cp", (char *)daemon_built("etcdworkerd"), program, NULL}, out, sizeof out) != 0)
        fail_msg("cp: %s", out);
}

static int set_up(void **state) {
    copy_program();
    server = etcd_server_start(NULL);
    return daemon_open(state);
}

static int tear_down(void **state) {
    unlink(program);
    rmdir(folder);
    etcd_server_free(server);
    return daemon_close(state);
}

/* Runs the daemon for a second with everything that uses threads and descriptors, and returns the exit code. `limit` is
 * an option of prlimit. `as_user`: as a user whose processes are counted, unlike root's. */
static int run(const char *limit, bool as_user) {
    char flag[64], endpoints[160];
    char *argv[24] = {"setpriv", "--reuid=65534", "--clear-groups"};
    size_t count = as_user && geteuid() == 0 ? 3 : 0;
    snprintf(flag, sizeof flag, "%s", limit);
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", server->endpoint);
    char *rest[] = {"prlimit",
                    flag,
                    program,
                    endpoints,
                    "--prefix=/limits",
                    "--elect=/seat",
                    "--submit",
                    "--publish-ticks",
                    "--http-listen=127.0.0.1:0",
                    "--seconds=4",
                    NULL};
    memcpy(argv + count, rest, sizeof rest);
    return process_run(argv, out, sizeof out);
}

/* Expects exit code 71 and one line that begins with `text`. Returns the number that the line asks for. */
static unsigned long long expect_refused(const char *option, unsigned long long value, bool as_user, const char *text) {
    char limit[64], begin[100];
    snprintf(limit, sizeof limit, "--%s=%llu", option, value);
    snprintf(begin, sizeof begin, "etcdworkerd: %s", text);
    int code = run(limit, as_user);
    const char *needed = strstr(out, "at least ");
    if (code != 71 || strncmp(out, begin, strlen(begin)) != 0 || !needed || strchr(out, '\n') != out + strlen(out) - 1)
        fail_msg("%s: %d, %s", limit, code, out);
    return strtoull(needed + 9, NULL, 10);
}

static void expect_enough(const char *option, unsigned long long value, bool as_user) {
    char limit[64];
    snprintf(limit, sizeof limit, "--%s=%llu", option, value);
    int code = run(limit, as_user);
    if (code != 0 || !strstr(out, "msg=started"))
        fail_msg("%s: %d, %s", limit, code, out);
}

static void test_files(void **state) {
    (void)state;
    unsigned long long needed = 0;
    for (unsigned value = 10; value <= 16; value++)
        needed = expect_refused("nofile", value, false, "RLIMIT_NOFILE (ulimit -n) is 1");
    assert_in_range(needed, 36, 64);
    expect_refused("nofile", needed - 1, false, "RLIMIT_NOFILE (ulimit -n) is ");
    expect_enough("nofile", needed, false);
}

static void test_threads(void **state) {
    (void)state;
    unsigned long long needed = 0;
    for (unsigned value = 12; value <= 16; value++)
        needed = expect_refused("nproc", value, true, "RLIMIT_NPROC (ulimit -u) is 1");
    assert_in_range(needed, 30, 4096);
    if (geteuid() != 0) /* other processes of this user are counted too, and their number changes */
        return;
    expect_refused("nproc", needed - 1, true, "RLIMIT_NPROC (ulimit -u) is ");
    expect_enough("nproc", needed, true);
}

static void test_address_space(void **state) {
    (void)state;
#ifdef EW_SANITIZED
    skip(); /* a sanitizer reserves terabytes */
#endif
    unsigned long long needed = 0;
    for (unsigned kib = 200000; kib <= 350000; kib += 50000)
        needed = expect_refused("as", kib * 1024ULL, false, "RLIMIT_AS (ulimit -v) is ");
    expect_enough("as", needed * 1024, false);
}

/* The stacks of threads count as data. */
static void test_data(void **state) {
    (void)state;
#ifdef EW_SANITIZED
    skip(); /* a sanitizer maps much more */
#endif
    unsigned long long needed = 0;
    for (unsigned kib = 100000; kib <= 300000; kib += 100000)
        needed = expect_refused("data", kib * 1024ULL, false, "RLIMIT_DATA (ulimit -d) is ");
    expect_enough("data", needed * 1024, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_address_space),
        cmocka_unit_test(test_data),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
