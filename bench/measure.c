#include "measure.h"

#include "histogram.h"
#include "others.h"
#include "progress.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 1000 };

double measure_number(const json_t *object, const char *name, double otherwise) {
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

double measure_others(const json_t *row) {
    double most = 0;
    size_t i;
    json_t *run;
    json_array_foreach(json_object_get(row, "runs"), i, run) {
        double cpus = measure_number(run, "others_cpus", 0);
        most = cpus > most ? cpus : most;
    }
    return most;
}

static void set(json_t *object, const char *name, double value) {
    json_object_set_new(object, name, json_real(value));
}

/* Returns whether a member of a role's result is not copied unchanged to the run. */
static bool is_raw(const char *name) {
    static const char *const names[] = {"count", "cpu_us", "switches", "latency", "latency_max_ns"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static void set_percentiles(json_t *object, const histogram *h) {
    if (h->total == 0)
        return;
    set(object, "latency_p50_us", (double)histogram_percentile(h, 50) / 1e3);
    set(object, "latency_p90_us", (double)histogram_percentile(h, 90) / 1e3);
    set(object, "latency_p99_us", (double)histogram_percentile(h, 99) / 1e3);
    set(object, "latency_max_us", (double)h->max_ns / 1e3);
}

/* Merges the histogram of a result into that of all runs, and adds its percentiles to `run`, if not NULL. */
static void take_latency(json_t *run, const json_t *raw, histogram *all) {
    histogram *h = malloc(sizeof *h);
    if (!h)
        return;
    uint64_t max_ns = (uint64_t)measure_number(raw, "latency_max_ns", 0);
    if (histogram_from_json(h, json_object_get(raw, "latency"), max_ns)) {
        histogram_merge(all, h);
        if (run)
            set_percentiles(run, h);
    }
    free(h);
}

static double rate(const json_t *raw) {
    return measure_number(raw, "count", 0) / measure_number(raw, "seconds", 1);
}

/* Makes the numbers of one run from the results of its roles. `floor` may be NULL. */
static json_t *make_run(const char *unit, const json_t *raw, const json_t *floor, histogram *all) {
    json_t *run = json_object();
    double count = measure_number(raw, "count", 1);
    char name[64];
    snprintf(name, sizeof name, "%ss_per_s", unit);
    set(run, name, rate(raw));
    if (floor) {
        set(run, "floor_per_s", rate(floor));
        set(run, "ratio", rate(raw) / rate(floor));
    }
    take_latency(run, raw, all);
    snprintf(name, sizeof name, "cpu_us_per_%s", unit);
    set(run, name, measure_number(raw, "cpu_us", 0) / count);
    if (floor) {
        double floor_cpu_us = measure_number(floor, "cpu_us", 0) / measure_number(floor, "count", 1);
        set(run, "floor_cpu_us", floor_cpu_us);
        if (floor_cpu_us > 0)
            set(run, "cpu_ratio", measure_number(run, name, 0) / floor_cpu_us);
    }
    snprintf(name, sizeof name, "switches_per_%s", unit);
    set(run, name, measure_number(raw, "switches", 0) / count);
    if (floor)
        set(run, "floor_switches", measure_number(floor, "switches", 0) / measure_number(floor, "count", 1));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)raw, key, value) {
        if (json_is_number(value) && !is_raw(key))
            set(run, key, json_number_value(value));
    }
    return run;
}

/* ---- rows ---- */

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Returns the median of a number over all runs, with its minimum and maximum. */
static double median(const json_t *runs, const char *name, double *min, double *max) {
    double values[RUNS_MAX];
    size_t count = 0, i;
    json_t *run;
    json_array_foreach(runs, i, run) {
        if (json_is_number(json_object_get(run, name)) && count < RUNS_MAX)
            values[count++] = measure_number(run, name, 0);
    }
    if (count == 0)
        return *min = *max = 0;
    qsort(values, count, sizeof values[0], compare);
    *min = values[0];
    *max = values[count - 1];
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static json_t *make_row(const char *unit, json_t *runs, const histogram *all, const histogram *floor) {
    json_t *row = json_object();
    json_object_set_new(row, "unit", json_string(unit));
    const char *key;
    json_t *value;
    double min, max;
    size_t i;
    json_t *run;
    json_array_foreach(runs, i, run) { /* all of them: a short run may lack a number that another one has */
        json_object_foreach(run, key, value) {
            set(row, key, median(runs, key, &min, &max));
            if (strcmp(key, "ratio") == 0) {
                set(row, "ratio_min", min);
                set(row, "ratio_max", max);
            }
        }
    }
    set_percentiles(row, all);
    json_object_set(row, "runs", runs);
    if (all->total > 0)
        json_object_set_new(row, "latency", histogram_to_json(all));
    if (floor->total > 0)
        json_object_set_new(row, "floor_latency", histogram_to_json(floor));
    return row;
}

static bool measure_pair(bench *b, const subject *s, int run, json_t *runs, histogram *all, histogram *floors) {
    const others before = others_now();
    json_t *floor = s->floor ? s->floor(b, s->arg, run) : NULL;
    if (s->floor && !floor)
        return false;
    json_t *raw = s->measure(b, s->arg, run);
    if (raw) {
        if (floor)
            take_latency(NULL, floor, floors);
        const others after = others_now();
        json_t *numbers = make_run(s->unit, raw, floor, all);
        if (!b->smoke) /* the numbers of --smoke mean nothing, so a busy machine does not matter */
            set(numbers, "others_cpus", others_cpus(&before, &after));
        json_array_append_new(runs, numbers);
    }
    json_decref(floor);
    json_decref(raw);
    return raw != NULL;
}

bool measure(bench *b, const char *name, const subject *s) {
    histogram *all = calloc(2, sizeof *all), *floors = all + 1;
    json_t *runs = json_array();
    if (!all) {
        json_decref(runs);
        return bench_fail(b, "out of memory");
    }
    bool ok = true;
    int64_t began_ns = now_ns();
    for (int run = 0; ok && run < b->runs; run++) {
        if (run > 0 && b->row_s > 0 && now_ns() - began_ns > b->row_s * INT64_C(1000000000))
            break;
        progress_run(b, name, run);
        ok = !bench_interrupted(b) && measure_pair(b, s, run, runs, all, floors);
        if (ok)
            progress_done(b, name, run, s->unit, json_array_get(runs, (size_t)run));
    }
    if (json_array_size(runs) > 0)
        json_object_set_new(b->rows, name, make_row(s->unit, runs, all, floors));
    json_decref(runs);
    free(all);
    return ok;
}
