#include "role.h"

#include <etcdworker/log.h>
#include <etcdworker/process.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static const char *find(const role_args *a, const char *name) {
    size_t len = strlen(name);
    for (int i = 0; i < a->count; i++)
        if (strncmp(a->words[i], name, len) == 0 && a->words[i][len] == '=')
            return a->words[i] + len + 1;
    return NULL;
}

int64_t args_int(const role_args *a, const char *name, int64_t otherwise) {
    const char *text = find(a, name);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

const char *args_text(const role_args *a, const char *name, const char *otherwise) {
    const char *text = find(a, name);
    return text ? text : otherwise;
}

static void set(ew_options *o, const char *name, const char *value) {
    ew_error err = {0};
    if (ew_options_set(o, name, value, &err) != EW_OK)
        role_fail("%s", err.detail);
}

ew_options *args_options(const role_args *a) {
    ew_options *o = ew_options_new();
    if (!o)
        role_fail("out of memory");
    set(o, "endpoints", args_text(a, "endpoints", "127.0.0.1:2379"));
    set(o, "prefix", args_text(a, "prefix", "/bench"));
    /* Long enough that the timer adds no tick to those of the workload. */
    set(o, "tick_interval_ms", "60000");
    for (int i = 0; i < a->count; i++) {
        const char *word = a->words[i], *equals = strchr(word, '=');
        if (strncmp(word, "set:", 4) != 0 || !equals)
            continue;
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(equals - word - 4), word + 4);
        set(o, name, equals + 1);
    }
    return o;
}

void role_say(json_t *line) {
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}

void role_add_latency(json_t *result, const histogram *h) {
    json_object_set_new(result, "latency", histogram_to_json(h));
    json_object_set_new(result, "latency_max_ns", json_integer((json_int_t)h->max_ns));
}

void role_await(void) {
    char line[64];
    if (!fgets(line, sizeof line, stdin))
        exit(EXIT_FAILURE);
}

void role_fail(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    role_say(json_pack("{s: s}", "error", text));
    _Exit(EXIT_FAILURE); /* no exit handlers, because other threads may still run */
}

static void log_record(void *arg, const ew_log_record *record) {
    (void)arg;
    fprintf(stderr, "etcdworker-bench: %s: %s: %s", record->worker ? record->worker : "-", record->area,
            record->message);
    for (size_t i = 0; i < record->field_count; i++) {
        const ew_log_field *f = &record->fields[i];
        if (f->text)
            fprintf(stderr, " %s=%s", f->name, f->text);
        else
            fprintf(stderr, " %s=%lld", f->name, (long long)f->number);
    }
    fputc('\n', stderr);
}

/* Prepares the process of a worker as etcdworkerd does. Other roles keep the system's defaults, which are the fastest
 * for a single thread. */
static void prepare(const role_args *a, bool worker) {
    ew_error err = {0};
    if (worker && args_int(a, "prepare", 1) != 0 && ew_process_prepare((int)args_int(a, "cpu", -1), &err) != EW_OK)
        role_fail("%s", err.detail);
}

int role_main(const role *roles, int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a role must not outlive the program that started it */
    role_args args = {argc - 1, argv + 1};
    if (args_int(&args, "verbose", 0) != 0)
        ew_log_set(log_record, NULL, EW_LOG_INFO);
    for (const role *r = roles; argc > 0 && r->name; r++)
        if (strcmp(argv[0], r->name) == 0) {
            prepare(&args, r->worker);
            r->run(&args);
            return EXIT_SUCCESS;
        }
    role_fail("unknown role: %s", argc > 0 ? argv[0] : "none");
}
