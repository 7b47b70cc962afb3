/* The service: its configuration, the plan of `assign`, a whole run with an election and HTTP requests, the program,
 * the demo with a plugin, and a private etcd. */
#include "alloc/scenario.h"
#include "lib/daemon.h"
#include "lib/process.h"
#include "lib/scenario.h"
#include "service/assign.h"
#include "service/assign_json.h"
#include "service/assign_plan.h"
#include "service/run.h"

#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { GIVE_UP_MS = 20000, BEAT_MS = 2, TASKS = 3 };

FILE *quiet_out;

static char config_path[] = "/tmp/etcdworker-alloc-XXXXXX";
static char *effective, *help; /* the output of a run without failures */

/* jansson's own allocations fail too: jansson reports an error and goes on. */
static failing_site in_jansson = {.file = "service/jansson", .line = 1};

static void *allocate_for_jansson(size_t size) {
    return failing_now(&in_jansson) ? NULL : malloc(size);
}

void alloc_open_service(void) {
    static const char text[] = "# a comment\n\nname = allocated\ntick_interval_ms = 1\nslow_tick_ms = 2\n"
                               "reactor = none\nendpoints = 127.0.0.1:1\nhttp_listen = 127.0.0.1:0\n";
    json_set_alloc_funcs(allocate_for_jansson, free);
    quiet_out = fopen("/dev/null", "we");
    int fd = mkstemp(config_path);
    if (!quiet_out || fd < 0 || write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
        process_die("cannot write %s", config_path);
    close(fd);
    client_put("/service/members/a", "{\"capacity\":1}");
    client_put("/service/members/b", "");
    client_put("/service/tasks/1", "{\"weight\":2}");
    client_put("/service/tasks/2", "");
    client_put("/service/tasks/3", "{}");
}

void alloc_close_service(void) {
    unlink(config_path);
    free(effective);
    free(help);
    fclose(quiet_out);
}

/* Returns the status that a caller of the library would get. */
static int status_of(int exit_code) {
    if (exit_code == EXIT_TEMPORARY)
        return EW_ERR_UNKNOWN_OUTCOME; /* no memory for the answer */
    if (exit_code == EXIT_SYSTEM)
        return EW_ERR_SYSTEM; /* no thread */
    return exit_code == EXIT_DONE ? EW_OK : exit_code == EXIT_FAILED ? EW_ERR_NO_MEMORY : EW_ERR_INVALID;
}

/* ---- the configuration ---- */

/* Keeps the first text; all later ones must be equal to it. */
static void compare(char **first, char *text, const char *what) {
    if (!*first) {
        *first = text;
        return;
    }
    if (strcmp(*first, text) != 0)
        alloc_problem("%s differ:\n%s", what, text);
    free(text);
}

static void print_all(const settings *s) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    settings_print_effective(out, s);
    fclose(out);
    compare(&effective, text, "the options in effect");
    out = open_memstream(&text, &size);
    settings_print_help(out);
    fclose(out);
    compare(&help, text, "the texts of --help");
}

/* A failed allocation must be reported as lack of memory, not as an error in the configuration. */
static int configure(void) {
    char *argv[] = {"etcdworkerd", "--config", config_path, "--slow-tick-ms=3", "--submit", "off", NULL};
    char *environment[] = {"ETCDWORKER_SLOW_TICK_MS=4", "ETCDWORKER_PAGE_BYTES=65536", NULL};
    char *text = NULL;
    size_t size;
    settings s;
    FILE *problems = open_memstream(&text, &size);
    int code = settings_load(&s, 6, argv, environment, problems);
    if (code == EXIT_DONE) {
        print_all(&s);
        code = run_check(&s, problems);
    }
    settings_fini(&s);
    fclose(problems);
    if (code != EXIT_DONE && (code != EXIT_FAILED || text[0] == '\0'))
        alloc_problem("exit code %d with the problems: %s", code, text);
    free(text);
    return status_of(code);
}

void alloc_run_config(void) {
    TRY(configure());
}

/* ---- the plan ---- */

/* Valid values and an invalid one: lack of memory must not turn one into the other. */
static int decode(void) {
    assign_problem problem;
    int64_t n = 1;
    int status = assign_json_can_name(EW_STR("name"));
    if (status == EW_OK)
        status = assign_json_number(EW_STR("{\"weight\":7,\"more\":[1.5,\"\\u00e9\",null]}"), "weight", 1, 100, &n,
                                    &problem);
    if (status == EW_OK && (n != 7 || problem.text[0] != '\0'))
        alloc_problem("a weight of 7 was read as %d: %s", (int)n, problem.text);
    if (status == EW_OK)
        status = assign_json_number(EW_STR("{\"weight\":"), "weight", 1, 100, &n, &problem);
    if (status == EW_OK && problem.text[0] == '\0')
        alloc_problem("half an object was accepted");
    return status;
}

/* Encodes and decodes. */
static int name_member(void) {
    assign_problem problem;
    char *value = assign_json_assignment(EW_STR("member"));
    char *member = value ? assign_json_member(ew_str(value), &problem) : NULL;
    if (member && strcmp(member, "member") != 0)
        alloc_problem("member was read as '%s': %s", member, problem.text);
    free(value);
    free(member);
    return member ? EW_OK : EW_ERR_NO_MEMORY;
}

static int tell(assign *a, ew_event_kind kind, const char *key, const char *value) {
    const ew_event event = {.kind = kind, .entry = {.key = ew_str(key), .value = ew_str(value)}};
    return assign_reactor.update(a, &event);
}

static int follow(void) {
    assign_args args;
    int status = assign_args_parse(&args, "tolerance=10 grace=5", NULL);
    if (status != EW_OK)
        return status;
    assign *a = assign_new("/plan", "allocated", &args);
    status = a ? assign_reactor.reset(a) : EW_ERR_NO_MEMORY;
    if (status == EW_OK)
        status = tell(a, EW_EVENT_PUT, "/plan/members/a", "{\"capacity\":2}");
    if (status == EW_OK)
        status = tell(a, EW_EVENT_PUT, "/plan/tasks/1", "{\"weight\":2}");
    if (status == EW_OK)
        status = tell(a, EW_EVENT_PUT, "/plan/assignments/1", "{\"member\":\"gone\"}");
    if (status == EW_OK)
        status = tell(a, EW_EVENT_PUT, "/plan/by-member/gone/1", "");
    if (status == EW_OK)
        status = tell(a, EW_EVENT_DELETE, "/plan/tasks/1", "");
    assign_free(a);
    return status;
}

/* A failed plan changes nothing, so it can be repeated. */
static void plan(void) {
    assign_plan *p = NULL;
    const assign_change *list = NULL;
    size_t count = 0;
    TRY((p = assign_plan_new()) ? EW_OK : EW_ERR_NO_MEMORY);
    TRY(assign_plan_put_member(p, EW_STR("a"), 1));
    TRY(assign_plan_put_member(p, EW_STR("b"), 1));
    TRY(assign_plan_put_task(p, EW_STR("1"), 1));
    TRY(assign_plan_put_task(p, EW_STR("2"), 1));
    TRY(assign_plan_put_assignment(p, EW_STR("1"), EW_STR("gone")));
    TRY(assign_plan_put_assignment(p, EW_STR("3"), EW_STR("a")));
    TRY(assign_plan_put_index(p, EW_STR("b"), EW_STR("4")));
    const assign_rules rules = {.max = 10, .tolerance = 20, .budget = 10};
    TRY(assign_plan_changes(p, &rules, 0, &list, &count));
    if (count != 4 || assign_plan_members(p) != 2 || assign_plan_tasks(p) != 2)
        alloc_problem("planned %zu changes for %zu members and %zu tasks", count, assign_plan_members(p),
                      assign_plan_tasks(p));
    assign_plan_free(p);
}

void alloc_run_plan(void) {
    TRY(decode());
    TRY(name_member());
    TRY(follow());
    plan();
}

/* ---- a whole run ---- */

/* Sends HTTP requests to the service and ends it, on its own thread: the service uses the first thread. */
typedef struct guest {
    pthread_t first;
    int port;
    atomic_bool over; /* the service has ended */
} guest;

static bool shows(const guest *g, const char *path, const char *text) {
    char answer[16384];
    daemon_http(g->port, path, answer, sizeof answer);
    return strstr(answer, " 200 ") && strstr(answer, text);
}

static void *visit(void *arg) {
    static const char *const pages[][2] = {
        {"/readyz", "ready"},
        {"/metrics", "etcdworker_groups_committed_total{worker=\"allocated\"} 3"},
        {"/", "groups_committed_total"},
    };
    guest *g = arg;
    size_t seen = 0;
    for (int n = 0; !g->over && seen < 3; n++) {
        seen += shows(g, pages[seen][0], pages[seen][1]);
        if (n == GIVE_UP_MS / BEAT_MS)
            alloc_problem("no answer for the page %s", pages[seen][0]);
        if (n >= GIVE_UP_MS / BEAT_MS)
            break;
        nanosleep(&(struct timespec){.tv_nsec = BEAT_MS * 1000000L}, NULL);
    }
    pthread_kill(g->first, SIGHUP); /* reloads what can be reloaded */
    pthread_kill(g->first, SIGTERM);
    return NULL;
}

static int load(settings *s, int port) {
    char endpoints[64], listen[64];
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", alloc_address());
    snprintf(listen, sizeof listen, "--http-listen=127.0.0.1:%d", port);
    char *argv[] = {"etcdworkerd",
                    endpoints,
                    listen,
                    "--prefix=/service",
                    "--name=allocated",
                    "--elect=/seat",
                    "--log-level=debug",
                    "--tick-interval-ms=10",
                    NULL};
    return settings_load(s, 8, argv, NULL, quiet_out);
}

/* The signals that end it are blocked before and after too, since the other thread may be late. */
static int serve(const settings *s, int port) {
    guest g = {.first = pthread_self(), .port = port};
    pthread_t visitor;
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGHUP);
    sigaddset(&ours, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    if (pthread_create(&visitor, NULL, visit, &g) != 0)
        process_die("cannot create a thread");
    int code = run_service(s);
    g.over = true;
    pthread_join(visitor, NULL);
    while (sigtimedwait(&ours, NULL, &(struct timespec){0}) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    alloc_log();
    return code;
}

static int run_it(void) {
    settings s;
    int port = etcd_free_port();
    WITHOUT_FAILURE(client_delete_prefix("/service/assignments/"));
    WITHOUT_FAILURE(client_put("/service/assignments/1", "{\"member\":\"gone\"}"));
    if (WITHOUT_FAILURE(load(&s, port)) != EXIT_DONE)
        process_die("the service rejected its options");
    int code = serve(&s, port);
    settings_fini(&s);
    if (code != EXIT_DONE && code != EXIT_FAILED && code != EXIT_SYSTEM && code != EXIT_TEMPORARY)
        alloc_problem("the service exited with %d", code);
    if (code == EXIT_DONE && WITHOUT_FAILURE(client_count("/service/assignments/")) != TASKS)
        alloc_problem("a task has no member");
    if (WITHOUT_FAILURE(client_count("/seat/")) != 0)
        alloc_problem("a service that has ended is still the leader");
    return status_of(code);
}

void alloc_run_service(void) {
    TRY(run_it());
}

/* ---- the program ---- */

int etcdworkerd_main(int argc, char **argv);

static int print_options(void) {
    char *argv[] = {"etcdworkerd", "--check-config", "--config", config_path, NULL};
    return status_of(etcdworkerd_main(4, argv));
}

void alloc_run_program(void) {
    TRY(print_options());
}
