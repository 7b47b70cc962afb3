#include "service/pages.h"

#include <etcdworker/version.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct metric {
    const char *name, *type, *help;
    int64_t value;
} metric;

enum { METRICS = 35 };

static void list(const pages_view *v, metric out[METRICS]) {
    const ew_worker_stats *s = &v->stats;
    const metric all[METRICS] = {
        {"ready", "gauge", "1 while the prefix is loaded and watched, and etcd is connected.", s->ready},
        {"revision", "gauge", "The newest etcd revision observed.", s->revision},
        {"barrier_revision", "gauge", "The revision of the worker's last commit; -1 before the first.",
         s->barrier_revision},
        {"ticks_total", "counter", "Ticks of the reactor.", (int64_t)s->ticks},
        {"slow_ticks_total", "counter", "Ticks longer than slow_tick_ms.", (int64_t)s->slow_ticks},
        {"events_total", "counter", "Changes of keys received.", (int64_t)s->events},
        {"groups_committed_total", "counter", "Patch groups committed.", (int64_t)s->groups_committed},
        {"groups_refused_total", "counter", "Refusals of patch groups, each followed by a retry.",
         (int64_t)s->groups_refused},
        {"groups_dropped_total", "counter", "Patch groups dropped: stale, or dropped by one of their patches.",
         (int64_t)s->groups_dropped},
        {"txns_total", "counter", "Transactions sent.", (int64_t)s->txns},
        {"txns_resolved_total", "counter", "Transactions whose unknown outcome was resolved.",
         (int64_t)s->txns_resolved},
        {"snapshots_total", "counter", "Loads of the whole prefix: the first and all reloads.", (int64_t)s->snapshots},
        {"reconnects_total", "counter", "Watch streams opened after the first.", (int64_t)s->reconnects},
        {"bad_messages_total", "counter", "Messages between actors that were dropped.", (int64_t)s->bad_messages},
        {"keys", "gauge", "Keys in the cache.", (int64_t)s->keys},
        {"cache_bytes", "gauge", "Bytes of the cache: keys, values and overhead.", (int64_t)s->cache_bytes},
        {"checks_total", "counter", "Consistency checks: comparisons of the cache with etcd.", (int64_t)s->checks},
        {"check_repairs_total", "counter", "Keys for which a consistency check found a difference.",
         (int64_t)s->check_repairs},
        {"histories_rewritten_total", "counter", "Reloads because etcd's history had changed, as after a restore.",
         (int64_t)s->histories_rewritten},
        {"no_space", "gauge", "1 while transactions wait because etcd is out of space.", s->no_space},
        {"alive", "gauge", "0 while a tick does not end or a thread hangs.", v->health.alive},
        {"progress_age_ms", "gauge", "Time since the last progress of the slowest thread; normally up to 5 s.",
         s->progress_age_ms},
        {"tick_running_ms", "gauge", "How long the running tick has taken; 0 if none runs.", s->tick_running_ms},
        {"txn_waiting_ms", "gauge", "How long the outcome of a transaction has been pending; 0 if none is.",
         s->txn_waiting_ms},
        {"log_records_dropped_total", "counter", "Log records dropped because stderr did not take them.",
         (int64_t)v->log_dropped},
        {"http_connections", "gauge", "Open connections of the HTTP server.", (int64_t)v->connections},
        {"submits_total", "counter", "Submitted groups accepted.", (int64_t)s->submits},
        {"submit_repeats_total", "counter", "Accepted submits that had been sent before.", (int64_t)s->submit_repeats},
        {"submits_refused_total", "counter", "Requests that were answered with an error.", (int64_t)s->submits_refused},
        {"submits_malformed_total", "counter", "Requests that were not a Submit message.",
         (int64_t)s->submits_malformed},
        {"submits_too_large_total", "counter", "Requests of more than max_submit_bytes.",
         (int64_t)s->submits_too_large},
        {"connections_total", "counter", "Connections to submit_url and ticks_url.", (int64_t)s->connections},
        {"connections_silent_total", "counter", "Connections that ended without a request.",
         (int64_t)s->connections_silent},
        {"connections_refused_total", "counter",
         "Connections closed: no valid certificate, opened by a web page, over the limit, or replies not read.",
         (int64_t)s->connections_refused},
    };
    memcpy(out, all, sizeof all);
}

static void print_label(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

/* Closes a memory stream; returns its text, or NULL if a write failed. */
static char *finish(FILE *out, char **text) {
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return *text;
    free(*text);
    return NULL;
}

static char *line(const char *word, const char *reason) {
    char *text = NULL;
    if (asprintf(&text, "%s%s%s\n", word, reason[0] ? ": " : "", reason) < 0)
        return NULL;
    return text;
}

char *pages_live(const pages_view *v) {
    return line(v->health.alive ? "alive" : "stuck", v->health.reason);
}

char *pages_ready(const pages_view *v) {
    return line(v->health.ready ? "ready" : "not ready", v->health.reason);
}

char *pages_metrics(const pages_view *v) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    metric all[METRICS];
    list(v, all);
    for (const metric *m = all; m < all + METRICS && m->name; m++) {
        fprintf(out, "# HELP etcdworker_%s %s\n# TYPE etcdworker_%s %s\netcdworker_%s{worker=\"", m->name, m->help,
                m->name, m->type, m->name);
        print_label(out, v->worker);
        fprintf(out, "\"} %" PRId64 "\n", m->value);
    }
    fprintf(out,
            "# HELP etcdworker_build_info The version, as a label.\n# TYPE etcdworker_build_info gauge\n"
            "etcdworker_build_info{version=\"%s\"} 1\n",
            ew_version());
    return finish(out, &text);
}

static void print_html(FILE *out, const char *text) {
    for (; *text; text++) {
        if (strchr("<>&\"'", *text))
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
}

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\"><title>etcdworkerd</title><style>\n"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#222}\n"
    "table{border-collapse:collapse;width:100%}td{border-bottom:1px solid #ddd;padding:.2rem .5rem}\n"
    "td:nth-child(2){text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    "td:nth-child(3){color:#666}.yes{color:#176f2c}.no{color:#a01818}\n"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}td{border-color:#444}\n"
    ".yes{color:#6fd387}.no{color:#ff8c8c}td:nth-child(3){color:#aaa}}\n"
    "</style></head><body>\n";

char *pages_home(const pages_view *v) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "%s<h1>etcdworkerd %s</h1>\n<p>Worker <b>", head, ew_version());
    print_html(out, v->worker);
    fputs("</b> follows <b>", out);
    print_html(out, v->prefix[0] ? v->prefix : "the whole keyspace");
    fprintf(out, "</b> and is <b class=\"%s\">%s</b>%s", v->health.ready ? "yes" : "no",
            v->health.ready   ? "ready"
            : v->health.alive ? "not ready"
                              : "stuck",
            v->health.reason[0] ? ": " : "");
    print_html(out, v->health.reason);
    fputs(".</p>\n<table>\n", out);
    metric all[METRICS];
    list(v, all);
    for (const metric *m = all + 1; m < all + METRICS && m->name; m++)
        fprintf(out, "<tr><td>%s</td><td>%" PRId64 "</td><td>%s</td></tr>\n", m->name, m->value, m->help);
    fputs("</table>\n<p><a href=\"/livez\">/livez</a> <a href=\"/readyz\">/readyz</a> <a "
          "href=\"/metrics\">/metrics</a></p>\n</body></html>\n",
          out);
    return finish(out, &text);
}
