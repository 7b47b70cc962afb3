/* The examples work as described, against a real etcd. They are the programs of the build, made with the public headers
 * and the shared library. */
#include "lib/process.h"
#include "lib/scenario.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- running them ---- */

/* Returns the path of a built example. Skips the test in a build without examples. */
static char *program(const char *name) {
    const char *dir = getenv("EW_BUILD_DIR");
    char *path = NULL;
    assert_true(asprintf(&path, "%s/example_%s", dir ? dir : ".", name) > 0);
    if (access(path, X_OK) != 0) {
        print_message("%s was not built\n", path);
        free(path);
        skip();
    }
    return path;
}

/* An example that runs beside the test, with its output. */
typedef struct show {
    pid_t pid;
    char log[64];
    char text[8192];
    const char *wanted;
} show;

static void start(show *s, const char *name, const char *a, const char *b, const char *c) {
    char *path = program(name);
    memset(s, 0, sizeof *s);
    snprintf(s->log, sizeof s->log, "/tmp/etcdworker-example-XXXXXX");
    int fd = mkstemp(s->log);
    assert_true(fd >= 0);
    close(fd);
    char *const argv[] = {path, (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c, NULL};
    s->pid = process_start(argv, s->log);
    free(path);
}

static void read_log(show *s) {
    FILE *f = fopen(s->log, "r");
    assert_non_null(f);
    s->text[fread(s->text, 1, sizeof s->text - 1, f)] = '\0';
    fclose(f);
}

static bool has_printed(void *arg) {
    show *s = arg;
    read_log(s);
    return strstr(s->text, s->wanted) != NULL;
}

static void await_text(show *s, const char *wanted) {
    s->wanted = wanted;
    if (!env_until(has_printed, s))
        fail_msg("never printed \"%s\", but:\n%s", wanted, s->text);
}

static bool has_ended(void *arg) {
    return !process_is_alive(((show *)arg)->pid);
}

static void await_end(show *s) {
    if (!env_until(has_ended, s)) {
        process_end(s->pid, SIGKILL);
        fail_msg("the example does not end");
    }
    read_log(s);
    unlink(s->log);
}

/* ---- the examples ---- */

/* Several counters at once: no increment is lost. */
static void test_counter(void **state) {
    (void)state;
    enum { AT_ONCE = 3 };
    show shows[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        start(&shows[i], "counter", env_endpoint(), "300", NULL);
    for (int i = 0; i < AT_ONCE; i++) {
        await_end(&shows[i]);
        assert_non_null(strstr(shows[i].text, " at revision "));
    }
    assert_string_equal(client_get("/counter/value").value, "900");
}

static void test_leader_view(void **state) {
    (void)state;
    show s;
    start(&s, "leader_view", "election", env_endpoint(), "4");
    await_text(&s, "nobody leads");
    client_put("/election/1", "alice");
    await_text(&s, "alice leads");
    client_put("/election/2", "bob");
    client_delete("/election/1");
    await_text(&s, "bob leads");
    client_delete("/election/2");
    await_end(&s);
    assert_non_null(strstr(strstr(s.text, "bob leads"), "nobody leads"));
}

/* Without a number of leaders, a signal ends it. */
static void test_leader_view_is_stopped(void **state) {
    (void)state;
    show s;
    start(&s, "leader_view", "election", env_endpoint(), NULL);
    await_text(&s, "nobody leads");
    kill(s.pid, SIGTERM);
    await_end(&s);
    assert_null(strstr(s.text, "leader_view:")); /* errors are printed with this prefix */
}

static void test_simulate_tickets(void **state) {
    (void)state;
    char out[8192];
    char *path = program("simulate_tickets");
    char *const argv[] = {path, (char *)(uintptr_t) "20", NULL};
    int code = process_run(argv, out, sizeof out);
    free(path);
    if (code != 0 || strcmp(out, "20 seeds: every client has a ticket, and no number is left out\n") != 0)
        fail_msg("%d: %s", code, out);
}

static bool is_there(void *arg) {
    return client_get(arg).present;
}

static void test_nng_app(void **state) {
    (void)state;
    char out[8192];
    char *path = program("nng_app");
    char *const argv[] = {path, (char *)(uintptr_t)env_endpoint(), NULL};
    int code = process_run(argv, out, sizeof out);
    free(path);
    if (code != 0)
        fail_msg("%d: %s", code, out);
    assert_non_null(strstr(out, "order 5: "));
    assert_int_equal(client_count("/shop/orders/") + client_count("/shop/bills/"), 5);
    assert_true(client_count("/shop/bills/") >= 4); /* the stop may have interrupted the last one */
}

/* The worker and the orders in two processes, over socket files. */
static void test_nng_app_over_ipc(void **state) {
    (void)state;
    show server;
    char out[8192], directory[] = "/tmp/etcdworker-shop-XXXXXX", submit[64], key[32];
    client_delete_prefix("/shop/");
    assert_non_null(mkdtemp(directory));
    start(&server, "nng_app", "serve", directory, env_endpoint());
    await_text(&server, "serving");
    snprintf(submit, sizeof submit, "%s/submit", directory);
    struct stat info;
    assert_int_equal(stat(submit, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0660);
    char *path = program("nng_app");
    char *const argv[] = {path, (char *)(uintptr_t) "order", directory, NULL};
    int code = process_run(argv, out, sizeof out);
    if (code != 0)
        fail_msg("%d: %s", code, out);
    assert_non_null(strstr(out, "order 5: "));
    for (int i = 1; i <= 5; i++) { /* the worker goes on, and makes a bill for each order */
        snprintf(key, sizeof key, "/shop/bills/%d", i);
        assert_true(env_until(is_there, key));
    }
    kill(server.pid, SIGTERM);
    await_end(&server);
    assert_null(strstr(server.text, "nng_app:"));
    assert_int_not_equal(process_run(argv, out, sizeof out), 0); /* no worker listens */
    free(path);
    assert_int_equal(rmdir(directory), 0);
}

static void test_client(void **state) {
    (void)state;
    show s;
    start(&s, "client", env_endpoint(), NULL, NULL);
    await_text(&s, "watching");
    client_put("/example/x", "1");
    client_put("/example/stop", "now");
    await_end(&s);
    assert_non_null(strstr(s.text, "claimed at revision"));
    assert_non_null(strstr(s.text, "/example/x"));
    assert_non_null(strstr(s.text, "/example/stop"));
    start(&s, "client", env_endpoint(), NULL, NULL); /* again: now the key exists */
    await_text(&s, "watching");
    client_put("/example/stop", "now");
    await_end(&s);
    assert_non_null(strstr(s.text, "taken"));
}

/* Oldest job first. Several workers claim at once, and no job is claimed twice. */
static void test_claim(void **state) {
    (void)state;
    enum { AT_ONCE = 3, JOBS = 12 };
    static const char *const members[AT_ONCE] = {"alice", "bob", "carol"};
    show shows[AT_ONCE];
    char key[64];
    for (int i = 0; i < JOBS; i++) {
        snprintf(key, sizeof key, "/claims/jobs/%c", 'z' - i);
        client_put(key, "");
    }
    start(&shows[0], "claim", env_endpoint(), "nobody", NULL);
    await_end(&shows[0]);
    assert_non_null(strstr(shows[0].text, "the reactor failed: there is no member /claims/crew/nobody"));
    client_put("/claims/crew/alice", "");
    client_put("/claims/crew/bob", "");
    client_put("/claims/crew/carol", "");
    for (int i = 0; i < AT_ONCE; i++)
        start(&shows[i], "claim", env_endpoint(), members[i], NULL);
    int took = 0;
    for (int i = 0; i < AT_ONCE; i++) {
        await_end(&shows[i]);
        for (const char *at = shows[i].text; (at = strstr(at, " took ")); at++)
            took++;
    }
    assert_int_equal(took, JOBS);
    assert_int_equal(client_count("/claims/taken/"), JOBS);
    int64_t last = 0;
    for (int i = 0; i < JOBS; i++) { /* in the order in which the jobs were created */
        snprintf(key, sizeof key, "/claims/taken/%c", 'z' - i);
        client_kv kv = client_get(key);
        assert_true(kv.create_revision > last && kv.version == 1);
        last = kv.create_revision;
    }
}

/* Without an etcd each example prints an error and fails. */
static void test_invalid_arguments(void **state) {
    (void)state;
    static const char *const names[] = {"counter", "nng_app", "claim"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char out[2048];
        char *path = program(names[i]);
        char *const argv[] = {path, (char *)(uintptr_t) "nonsense", NULL};
        assert_int_not_equal(process_run(argv, out, sizeof out), 0);
        assert_non_null(strstr(out, "nonsense"));
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        env_test(test_counter),
        env_test(test_leader_view),
        env_test(test_leader_view_is_stopped),
        env_test(test_nng_app),
        env_test(test_nng_app_over_ipc),
        env_test(test_simulate_tickets),
        env_test(test_client),
        env_test(test_claim),
        env_test(test_invalid_arguments),
    };
    return cmocka_run_group_tests(tests, env_open, env_close);
}
