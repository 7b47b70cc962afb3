/* The reactor `assign` as a user runs it: daemons on a prefix of a real etcd. */
#include "lib/daemon.h"
#include "lib/scenario.h"
#include "service/assign_json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARGS(...) ((char *const[]){__VA_ARGS__, NULL})

/* As even as possible, however many tasks must move. */
#define EVEN "--reactor-args=tolerance=0"

enum { MEMBERS = 5, TASKS = 40, CHURN = 400 };

/* ---- the state of the prefix at one revision ---- */

typedef struct picture {
    ew_result *result;
} picture;

static picture take_picture(int64_t revision) {
    picture p;
    ew_error err = {0};
    int status = ew_client_get(client_handle(), ew_keys_prefix(EW_STR("/app/")), &EW_GET_OPTIONS(.revision = revision),
                               &p.result, &err);
    if (status != EW_OK)
        fail_msg("revision %lld: %s", (long long)revision, err.detail);
    return p;
}

static const ew_kv *find(const picture *p, const char *folder, ew_slice id) {
    char key[200];
    int len = snprintf(key, sizeof key, "/app/%s/%.*s", folder, (int)id.len, (const char *)id.data);
    const ew_kv *kv;
    for (size_t i = 0; (kv = ew_result_at(p->result, i)); i++) {
        if (kv->key.len == (size_t)len && memcmp(kv->key.data, key, (size_t)len) == 0)
            return kv;
    }
    return NULL;
}

/* Returns the next key of this kind, from `*i` on, and its id. */
static const ew_kv *next_of(const picture *p, const char *folder, size_t *i, ew_slice *id) {
    char start[60];
    size_t len = (size_t)snprintf(start, sizeof start, "/app/%s/", folder);
    const ew_kv *kv;
    while ((kv = ew_result_at(p->result, (*i)++))) {
        if (kv->key.len > len && memcmp(kv->key.data, start, len) == 0) {
            *id = (ew_slice){(const char *)kv->key.data + len, kv->key.len - len};
            return kv;
        }
    }
    return NULL;
}

static const ew_kv *holder_of(const picture *p, const ew_kv *assignment) {
    assign_problem problem;
    char *member = assign_json_member(assignment->value, &problem);
    assert_non_null(member);
    const ew_kv *found = find(p, "members", ew_str(member));
    free(member);
    return found;
}

/* ---- the index ---- */

static bool is_external(const ew_kv *kv) {
    return memmem(kv->value.data, kv->value.len, "external", 8) != NULL;
}

/* Sets the id of an index key's task, and returns whether the assignment names the member in the key. Ids here contain
 * no slash, except "rack/7%". */
static bool index_is_right(const picture *p, ew_slice id, const ew_kv **assignment) {
    const char *bytes = id.data, *slash = memchr(bytes, '/', id.len);
    if (!slash)
        return false;
    ew_slice task = {slash + 1, id.len - (size_t)(slash + 1 - bytes)};
    *assignment = find(p, "assignments", task);
    if (!*assignment)
        return false;
    assign_problem problem;
    char *member = assign_json_member((*assignment)->value, &problem);
    assert_non_null(member);
    const char *spelt = strcmp(member, "rack/7%") == 0 ? "rack%2F7%25" : member;
    bool same = strlen(spelt) == (size_t)(slash - bytes) && memcmp(spelt, bytes, strlen(spelt)) == 0;
    free(member);
    return same;
}

/* Each assignment has one index key, of its member, and there is no other index key. Assignments by an external writer
 * are ignored. */
static bool index_is_complete(const picture *p) {
    size_t assigned = 0, indexed = 0;
    ew_slice id;
    const ew_kv *a;
    for (size_t i = 0; (a = next_of(p, "assignments", &i, &id));)
        assigned += !is_external(a);
    for (size_t i = 0; next_of(p, "by-member", &i, &id);) {
        bool right = index_is_right(p, id, &a);
        if (!right && !(a && is_external(a)))
            return false;
        indexed += right && !is_external(a);
    }
    return assigned == indexed;
}

/* Every task has a live member, no assignment is without its task, and no member has two tasks more than another. */
static bool is_right_and_even(void *arg) {
    (void)arg;
    picture p = take_picture(0);
    size_t least = SIZE_MAX, most = 0;
    bool right = true;
    ew_slice id;
    for (size_t i = 0; next_of(&p, "tasks", &i, &id);) {
        const ew_kv *a = find(&p, "assignments", id);
        right = right && a && holder_of(&p, a);
    }
    const ew_kv *member, *a;
    for (size_t i = 0; next_of(&p, "assignments", &i, &id);)
        right = right && find(&p, "tasks", id);
    for (size_t i = 0; (member = next_of(&p, "members", &i, &id));) {
        size_t held = 0;
        for (size_t k = 0; (a = next_of(&p, "assignments", &k, &id));)
            held += holder_of(&p, a) == member;
        least = held < least ? held : least;
        most = held > most ? held : most;
    }
    right = right && index_is_complete(&p);
    ew_result_free(p.result);
    return right && (most == 0 || most - least <= 1);
}

static char *endpoints(void) {
    static char flag[100];
    snprintf(flag, sizeof flag, "--endpoints=%s", env_endpoint());
    return flag;
}

static void put(const char *folder, int i, const char *value) {
    char key[100];
    snprintf(key, sizeof key, "/app/%s/%d", folder, i);
    client_put(key, value);
}

static void stop_daemon(daemon_process *d) {
    daemon_signal(d, SIGTERM);
    int code = daemon_wait(d);
    if (code != 0)
        fail_msg("the daemon exited with %d:\n%s", code, daemon_log(d));
}

/* ---- one daemon ---- */

static void test_tasks_follow_their_members(void **state) {
    (void)state;
    client_delete_prefix("/app/");
    for (int i = 0; i < TASKS; i++)
        put("tasks", i, "");
    daemon_process d = daemon_start(ARGS(endpoints(), "--prefix=app", "--name=one", EVEN));
    daemon_await(&d, "msg=started");
    for (int i = 0; i < MEMBERS; i++)
        put("members", i, "{}");
    daemon_until(is_right_and_even, NULL, "the first assignments");
    client_delete("/app/members/2");
    daemon_until(is_right_and_even, NULL, "others for the tasks of a member that left");
    client_delete("/app/tasks/3");
    daemon_until(is_right_and_even, NULL, "the end of an assignment whose task is gone");
    client_put("/app/assignments/4", "no JSON at all");
    daemon_until(is_right_and_even, NULL, "an assignment that was overwritten");
    for (int i = 0; i < MEMBERS; i++) {
        char key[100];
        snprintf(key, sizeof key, "/app/members/%d", i);
        client_delete(key);
    }
    client_put("/app/members/last", "{\"capacity\":0}");
    daemon_until(is_right_and_even, NULL, "everything on the only member, though drained");
    stop_daemon(&d);
}

static void test_a_value_that_is_no_json(void **state) {
    (void)state;
    client_delete_prefix("/app/");
    daemon_process d = daemon_start(ARGS(endpoints(), "--prefix=/app", "--name=one", EVEN));
    put("members", 1, "{\"capacity\":1}");
    client_put("/app/members/bad", "{\"capacity\":\"SECRET\"}");
    client_put("/app/tasks/bad", "{SECRET");
    for (int i = 0; i < TASKS; i++)
        put("tasks", i, "{\"weight\":1}");
    daemon_await(&d, "key=/app/tasks/bad problem=\"not JSON, at byte ");
    daemon_await(&d, "key=/app/members/bad problem=\"capacity is not a whole number from 0 to 1000000\"");
    daemon_until(is_right_and_even, NULL, "assignments beside a bad value");
    client_put("/app/tasks/bad", "[1]");
    daemon_await(&d, "key=/app/tasks/bad problem=\"not a JSON object\"");
    client_put("/app/tasks/bad", "{}");
    daemon_until(is_right_and_even, NULL, "assignments when the value is right again");
    stop_daemon(&d);
    /* Logged once for each change, and without the value. */
    const char *log = daemon_log(&d);
    size_t warnings = 0;
    for (const char *at = log; (at = strstr(at, "using the default")); at++)
        warnings++;
    assert_int_equal(warnings, 3);
    assert_null(strstr(log, "SECRET"));
}

/* ---- several daemons ---- */

static unsigned seed = 7;

static unsigned roll(unsigned sides) {
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % sides;
}

/* One external change. `by` marks the values that are written into the assignments, which belong to the daemon. */
static void meddle(void) {
    char key[100];
    int member = (int)roll(MEMBERS), task = (int)roll(TASKS);
    switch (roll(8)) {
    case 0:
    case 1:
        put("members", member, "{}");
        break;
    case 2:
        snprintf(key, sizeof key, "/app/members/%d", member);
        client_delete(key);
        break;
    case 3:
    case 4:
    case 5:
        put("tasks", task, "{}");
        break;
    case 6:
        snprintf(key, sizeof key, "/app/tasks/%d", task);
        client_delete(key);
        break;
    default:
        put("assignments", task, "{\"member\":\"1\",\"by\":\"external\"}");
    }
}

/* Every assignment that a daemon wrote at a revision named a task and a member that existed at that revision; every one
 * that it deleted had lost its task or its member. */
static void check_writes(const picture *before, const picture *now, int64_t revision) {
    ew_slice id;
    const ew_kv *a;
    for (size_t i = 0; (a = next_of(now, "assignments", &i, &id));) {
        if (a->mod_revision != revision || is_external(a))
            continue;
        if (!find(now, "tasks", id) || !holder_of(now, a))
            fail_msg("revision %lld: %.*s = %.*s, without its task or its member", (long long)revision, (int)a->key.len,
                     (const char *)a->key.data, (int)a->value.len, (const char *)a->value.data);
    }
    for (size_t i = 0; (a = next_of(before, "assignments", &i, &id));) {
        if (!find(now, "assignments", id) && find(now, "tasks", id) && holder_of(now, a))
            fail_msg("revision %lld: %.*s was deleted for no reason", (long long)revision, (int)a->key.len,
                     (const char *)a->key.data);
    }
}

static void check_history(int64_t from, int64_t to) {
    picture before = take_picture(from);
    for (int64_t revision = from + 1; revision <= to; revision++) {
        picture now = take_picture(revision);
        check_writes(&before, &now, revision);
        if (!index_is_complete(&now))
            fail_msg("revision %lld: the keys by member do not agree with the assignments", (long long)revision);
        ew_result_free(before.result);
        before = now;
    }
    ew_result_free(before.result);
}

static void test_three_daemons_and_churn(void **state) {
    (void)state;
    client_delete_prefix("/app/");
    daemon_process d[3];
    for (int i = 0; i < 3; i++)
        d[i] = daemon_start(
            ARGS(endpoints(), "--prefix=/app", EVEN, i == 2 ? "--isolation=serializable" : "--log-level=info"));
    for (int i = 0; i < 3; i++)
        daemon_await(&d[i], "msg=started");
    int64_t from = client_revision();
    for (int i = 0; i < CHURN; i++)
        meddle();
    put("members", 1, "{}");
    daemon_until(is_right_and_even, NULL, "a right state after the churn");
    check_history(from, client_revision());
    /* SIGKILL of another daemon: the others go on. */
    daemon_signal(&d[0], SIGKILL);
    daemon_wait(&d[0]);
    put("members", 2, "{}");
    put("tasks", 0, "{}");
    daemon_until(is_right_and_even, NULL, "a right state without the one that was killed");
    stop_daemon(&d[1]);
    stop_daemon(&d[2]);
}

/* ---- arguments, and absent members ---- */

static size_t assignments_of(const picture *p, const char *member) {
    size_t count = 0, i = 0;
    const ew_kv *a;
    ew_slice id;
    while ((a = next_of(p, "assignments", &i, &id))) {
        assign_problem problem;
        char *named = assign_json_member(a->value, &problem);
        count += strcmp(named, member) == 0;
        free(named);
    }
    return count;
}

static bool is_assigned(void *arg) {
    picture p = take_picture(0);
    bool there = find(&p, "assignments", ew_str(arg)) && index_is_complete(&p);
    ew_result_free(p.result);
    return there;
}

/* Waits until a new task is assigned: then the daemon's plan includes everything that existed before. */
static void plan_with(const char *task) {
    char key[100];
    snprintf(key, sizeof key, "/app/tasks/%s", task);
    client_put(key, "");
    daemon_until(is_assigned, (void *)(uintptr_t)task, "an assignment of a new task");
}

static bool all_are_assigned(void *arg) {
    (void)arg;
    picture p = take_picture(0);
    bool all = true;
    ew_slice id;
    for (size_t i = 0; next_of(&p, "tasks", &i, &id);) {
        const ew_kv *a = find(&p, "assignments", id);
        all = all && a && holder_of(&p, a);
    }
    all = all && index_is_complete(&p);
    ew_result_free(p.result);
    return all;
}

static void assert_not_moved(const picture *before) {
    picture now = take_picture(0);
    const ew_kv *was, *is;
    ew_slice id;
    for (size_t i = 0; (was = next_of(before, "assignments", &i, &id));) {
        is = find(&now, "assignments", id);
        assert_non_null(is);
        assert_int_equal(is->mod_revision, was->mod_revision);
    }
    ew_result_free(now.result);
}

/* No task of an absent member moves within the grace period, also if the daemon is killed meanwhile; a shorter grace
 * period ends. */
static void test_a_member_that_comes_back(void **state) {
    (void)state;
    client_delete_prefix("/app/");
    for (int i = 0; i < TASKS; i++)
        put("tasks", i, "");
    for (int i = 0; i < MEMBERS; i++)
        put("members", i, "");
    client_put("/app/members/rack/7%", "{}");
    daemon_process d = daemon_start(ARGS(endpoints(), "--prefix=app", "--reactor-args=grace=3600"));
    daemon_until(all_are_assigned, NULL, "the first assignments");
    picture before = take_picture(0);
    size_t held = assignments_of(&before, "rack/7%");
    assert_true(held > 1);
    client_delete("/app/members/rack/7%");
    plan_with("x");
    assert_not_moved(&before);
    daemon_signal(&d, SIGKILL);
    daemon_wait(&d);
    d = daemon_start(ARGS(endpoints(), "--prefix=app", "--reactor-args=grace=3600"));
    plan_with("y");
    assert_not_moved(&before);
    client_put("/app/members/rack/7%", "{}");
    plan_with("z");
    assert_not_moved(&before);
    stop_daemon(&d);
    client_delete("/app/members/rack/7%");
    d = daemon_start(ARGS(endpoints(), "--prefix=app", "--reactor-args=grace=1,tolerance=30"));
    daemon_until(all_are_assigned, NULL, "others for the tasks of a member that stays away");
    stop_daemon(&d);
    ew_result_free(before.result);
}

/* Keys by member that are missing, wrong or superfluous are repaired. */
static void test_the_index_is_repaired(void **state) {
    (void)state;
    client_delete_prefix("/app/");
    for (int i = 0; i < TASKS; i++)
        put("tasks", i, "");
    put("members", 0, "");
    for (int i = 0; i < 10; i++) /* as a release without an index leaves them */
        put("assignments", i, "{\"member\":\"0\"}");
    for (int i = 0; i < 20; i++) {
        char key[100];
        snprintf(key, sizeof key, "/app/by-member/wrong%d/12", i);
        client_put(key, "");
    }
    client_put("/app/by-member/0/no such task", "");
    daemon_process d = daemon_start(ARGS(endpoints(), "--prefix=app"));
    daemon_until(all_are_assigned, NULL, "a whole index");
    client_delete_prefix("/app/by-member/");
    daemon_until(all_are_assigned, NULL, "a whole index again");
    stop_daemon(&d);
}

static void test_invalid_reactor_args(void **state) {
    (void)state;
    char out[4096];
    assert_int_equal(daemon_run(ARGS(endpoints(), "--prefix=app", "--reactor-args=grace=soon"), out, sizeof out), 78);
    assert_non_null(strstr(out, "reactor_args: assign: 'grace=soon': grace must be a whole number from 0 to 86400"));
}

/* ---- a plugin ---- */

static bool is_copied(void *arg) {
    client_kv kv = client_get("/app/out/hello");
    return arg ? kv.present && strcmp(kv.value, arg) == 0 : !kv.present;
}

static void test_the_example_plugin(void **state) {
    (void)state;
    char flag[600];
    if (snprintf(flag, sizeof flag, "--reactor=%s", daemon_built("plugin_copy.so")) < 0 ||
        access(strchr(flag, '=') + 1, R_OK) != 0)
        skip(); /* built without the examples */
    client_delete_prefix("/app/");
    daemon_process d = daemon_start(ARGS(endpoints(), "--prefix=/app", flag));
    client_put("/app/in/hello", "world");
    daemon_until(is_copied, "world", "a copy");
    client_put("/app/in/hello", "etcd");
    daemon_until(is_copied, "etcd", "a newer copy");
    client_delete("/app/in/hello");
    daemon_until(is_copied, NULL, "the end of the copy");
    stop_daemon(&d);
}

static int open_all(void **state) {
    return daemon_open(state) == 0 ? env_open(state) : -1;
}

static int close_all(void **state) {
    int code = env_close(state);
    return daemon_close(state) == 0 ? code : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_follow_their_members), cmocka_unit_test(test_a_value_that_is_no_json),
        cmocka_unit_test(test_three_daemons_and_churn),    cmocka_unit_test(test_a_member_that_comes_back),
        cmocka_unit_test(test_the_index_is_repaired),      cmocka_unit_test(test_invalid_reactor_args),
        cmocka_unit_test(test_the_example_plugin),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
