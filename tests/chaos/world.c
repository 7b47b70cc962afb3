#include "chaos/world.h"

#include "lib/process.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { LOOK_MS = 3, STOP_LIMIT_MS = 60000, SEEN_LIMIT_MS = 60000 };

uint64_t world_roll(world *w, uint64_t sides) {
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % sides;
}

int world_between(world *w, int low, int high) {
    return low + (int)world_roll(w, (uint64_t)(high - low) + 1);
}

void world_problem(world *w, const char *format, ...) {
    char text[sizeof w->problem];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (w->problem[0] == '\0')
        memcpy(w->problem, text, sizeof text);
    else
        fprintf(stderr, "chaos: also: %s\n", text);
}

/* ---- etcd ---- */

static void write_password(world *w) {
    snprintf(w->password_file, sizeof w->password_file, "%s/password", w->node[0]->dir);
    FILE *f = fopen(w->password_file, "w");
    if (!f || fputs(WORLD_PASSWORD, f) < 0 || fclose(f) != 0)
        process_die("%s: %s", w->password_file, strerror(errno));
}

ew_options *world_options(const world *w) {
    ew_options *o = ew_options_new();
    ew_error err = {0};
    if (!o || ew_options_set(o, "endpoints", w->endpoints, &err) != EW_OK ||
        ew_options_set(o, "user", WORLD_USER, &err) != EW_OK ||
        ew_options_set(o, "password_file", w->password_file, &err) != EW_OK)
        process_die("options: %s", err.detail);
    return o;
}

void world_open(world *w, int nodes, uint64_t seed) {
    /* Tokens that are not used for two seconds expire. */
    static const char *const flags[] = {"--auth-token-ttl=2", NULL};
    *w = (world){.nodes = nodes, .random = seed * 2654435761u + 88172645463325252u};
    unsetenv("EW_ETCD_NODES"); /* the harness chooses the number of nodes itself */
    if (nodes == 1) {
        w->single = etcd_server_start(flags);
        w->node[0] = w->single;
        snprintf(w->endpoints, sizeof w->endpoints, "%s", w->single->endpoint);
    } else {
        w->cluster = etcd_cluster_start(flags);
        for (int i = 0; i < nodes; i++)
            w->node[i] = w->cluster->nodes[i];
        snprintf(w->endpoints, sizeof w->endpoints, "%s", w->cluster->endpoints);
    }
    write_password(w);
    ew_options *o = world_options(w);
    ew_error err = {0};
    if (ew_client_open(&w->client, o, &err) != EW_OK)
        process_die("cannot open the harness's client: %s", err.detail);
    ew_options_free(o);
}

void world_close(world *w) {
    ew_client_close(w->client);
    etcd_server_free(w->single);
    etcd_cluster_free(w->cluster);
    *w = (world){0};
}

/* ---- waiting ---- */

bool world_until(world *w, world_condition holds, void *arg, int limit_ms) {
    int64_t deadline_us = journal_now_us() + (int64_t)limit_ms * 1000;
    for (;;) {
        workers_pump(w);
        if (holds && holds(w, arg))
            return true;
        if (journal_now_us() >= deadline_us)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}

void world_linger(world *w, int ms) {
    world_until(w, NULL, NULL, ms);
}

static bool is_back(world *w, void *arg) {
    return workers_are_back(w, *(const unsigned *)arg);
}

bool world_until_back(world *w, unsigned set, int limit_ms) {
    return world_until(w, is_back, &set, limit_ms);
}

/* ---- a round ---- */

static bool answers(world *w, void *arg) {
    ew_result *result = NULL;
    int64_t *revision = arg;
    if (ew_client_get(w->client, ew_keys_one(EW_STR("/chaos-revision")), NULL, &result, NULL) != EW_OK)
        return false;
    *revision = ew_result_revision(result);
    ew_result_free(result);
    return true;
}

int64_t world_revision(world *w) {
    int64_t revision = 0;
    if (!world_until(w, answers, &revision, SEEN_LIMIT_MS))
        world_problem(w, "cannot read etcd's revision");
    return revision;
}

static void open_recorder(world *w) {
    ew_options *o = world_options(w);
    w->recorder = recorder_open(o, w->prefix, w->first_revision);
    ew_options_free(o);
}

void world_rewrite(world *w, int64_t kept, int64_t away_us) {
    recorder_drain(w->recorder, w->ledger);
    recorder_close(w->recorder);
    ledger_rewrite(w->ledger, kept, away_us);
    if (w->first_revision > kept)
        w->first_revision = 1;
    open_recorder(w);
}

void world_begin(world *w, const char *const *extra) {
    size_t n = 0;
    w->round++;
    w->problem[0] = '\0';
    snprintf(w->prefix, sizeof w->prefix, "/chaos/%u", w->round);
    for (; extra[n] && n < EXTRA_MAX - 1; n++)
        w->extra[n] = extra[n];
    w->extra[n] = NULL;
    snprintf(w->directory, sizeof w->directory, "%s/round-%u", w->node[0]->dir, w->round);
    if (mkdir(w->directory, 0700) != 0)
        process_die("%s: %s", w->directory, strerror(errno));
    w->ledger = ledger_open();
    w->first_revision = world_revision(w);
    open_recorder(w);
    w->working = true;
    w->injection = NULL;
    workers_open(w);
}

static bool is_gone(world *w, void *arg) {
    (void)arg;
    return workers_are_gone(w);
}

static bool is_seen(world *w, void *arg) {
    return recorder_revision(w->recorder) >= *(const int64_t *)arg || recorder_problem(w->recorder);
}

/* Writes a key after all others: when the recorder has seen it, it has seen everything. */
static void await_recorder(world *w) {
    char key[96];
    ew_error err = {0};
    ew_result *result = NULL;
    snprintf(key, sizeof key, "%s/zzz", w->prefix);
    if (ew_client_put(w->client, ew_str(key), EW_STR("the end"), NULL, &result, &err) != EW_OK) {
        world_problem(w, "cannot write the end: %s", err.detail);
        return;
    }
    int64_t revision = ew_result_revision(result);
    ew_result_free(result);
    if (!world_until(w, is_seen, &revision, SEEN_LIMIT_MS))
        world_problem(w, "the recorder did not see the end");
    if (recorder_problem(w->recorder))
        world_problem(w, "%s", recorder_problem(w->recorder));
}

static void read_key(world *w, const ew_kv *kv) {
    char key[96];
    unsigned n;
    int64_t balance, cells[WORKERS];
    size_t skip = strlen(w->prefix);
    snprintf(key, sizeof key, "%.*s", (int)kv->key.len, (const char *)kv->key.data);
    if (sscanf(key + skip, "/account/%u", &n) == 1 && ew_slice_int(kv->value, &balance))
        ledger_balance(w->ledger, n, balance);
    else if (sscanf(key + skip, "/row/%u", &n) == 1 && row_parse(kv->value, cells))
        ledger_cells(w->ledger, n, cells);
}

static void read_state(world *w) {
    char prefix[96];
    ew_error err = {0};
    ew_result *result = NULL;
    snprintf(prefix, sizeof prefix, "%s/", w->prefix);
    if (ew_client_get(w->client, ew_keys_prefix(ew_str(prefix)), NULL, &result, &err) != EW_OK) {
        world_problem(w, "cannot read the final state: %s", err.detail);
        return;
    }
    for (size_t i = 0; i < ew_result_count(result); i++)
        read_key(w, ew_result_at(result, i));
    ew_result_free(result);
}

void world_end(world *w, verdict *out) {
    w->working = false;
    for (unsigned i = 0; i < WORKERS; i++)
        workers_signal(w, i, SIGTERM);
    if (!world_until(w, is_gone, NULL, STOP_LIMIT_MS))
        world_problem(w, "a worker does not stop");
    await_recorder(w);
    recorder_drain(w->recorder, w->ledger);
    read_state(w);
    ledger_judge(w->ledger, out);
    if (w->verbose || w->problem[0] != '\0' || out->lost + out->duplicated + out->wrong > 0)
        workers_show_logs(w);
    recorder_close(w->recorder);
    workers_close(w);
    ledger_close(w->ledger);
    w->recorder = NULL;
    w->ledger = NULL;
}
