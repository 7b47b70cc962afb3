#include "measure.h"
#include "others.h"
#include "report.h"

#include <string.h>

typedef struct range {
    double min, max;
    size_t count;
} range;

static range range_of(const json_t *row, const char *name) {
    range r = {0};
    size_t i;
    json_t *run;
    json_array_foreach(json_object_get(row, "runs"), i, run) {
        const json_t *value = json_object_get(run, name);
        if (!json_is_number(value))
            continue;
        double v = json_number_value(value);
        r.min = r.count == 0 || v < r.min ? v : r.min;
        r.max = r.count == 0 || v > r.max ? v : r.max;
        r.count++;
    }
    return r;
}

/* Returns whether a number is compared. Not compared: what was requested, the numbers of the floor, which depend on the
 * machine, and latency_max_us. */
static bool is_judged(const char *name) {
    static const char *const asked[] = {"ticks",    "keys",         "bytes",          "seconds",        "floor_per_s",
                                        "paging_s", "floor_cpu_us", "floor_switches", "latency_max_us", "others_cpus"};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        if (strcmp(name, asked[i]) == 0)
            return false;
    return true;
}

typedef struct verdict {
    int judged, differing, unjudged;
} verdict;

static void compare_number(FILE *out, const char *workload, const char *name, const json_t *then, const json_t *now,
                           verdict *v) {
    range before = range_of(then, name), after = range_of(now, name);
    if (!is_judged(name) || before.count == 0 || after.count == 0)
        return;
    if (before.count < 2 || after.count < 2) {
        v->unjudged++;
        return;
    }
    v->judged++;
    if (after.min <= before.max && before.min <= after.max)
        return;
    v->differing++;
    double was = measure_number(then, name, 0), is = measure_number(now, name, 0);
    char change[32] = "      ";
    if (was != 0) /* a change from 0 has no percentage */
        snprintf(change, sizeof change, "%+6.1f%%", (is - was) / was * 100);
    fprintf(out, "  %-14s %-22s %12.4g -> %-12.4g %-7s   (%.4g-%.4g, now %.4g-%.4g)\n", workload, name, was, is, change,
            before.min, before.max, after.min, after.max);
}

/* Returns whether the machine was idle in both measurements. A difference on a busy one says nothing about the program.
 */
static bool at_rest(FILE *out, const char *workload, const json_t *then, const json_t *now) {
    double before = measure_others(then), after = measure_others(now);
    if (before <= OTHERS_CPUS_MAX && after <= OTHERS_CPUS_MAX)
        return true;
    fprintf(out, "  not judged: %s: other programs used up to %.2f CPUs then, %.2f now\n", workload, before, after);
    return false;
}

static void compare_row(FILE *out, const char *workload, const json_t *then, const json_t *now, verdict *v) {
    const char *name;
    json_t *number;
    if (!then || !at_rest(out, workload, then, now))
        return;
    json_object_foreach(json_array_get(json_object_get(now, "runs"), 0), name, number)
        compare_number(out, workload, name, then, now, v);
}

/* Prints a note for each row that `counterpart` does not have. */
static void note_rows(FILE *out, const json_t *rows, const json_t *counterpart, const char *where) {
    const char *workload;
    json_t *row;
    json_object_foreach((json_t *)(uintptr_t)rows, workload, row) {
        if (!json_object_get(counterpart, workload))
            fprintf(out, "  note: %s is only in %s\n", workload, where);
    }
}

static void warn(FILE *out, const json_t *then, const json_t *now, const char *what) {
    if (!json_equal(json_object_get(then, what), json_object_get(now, what)))
        fprintf(out, "  note: the %s differ\n", what);
}

static bool same_cpu(const json_t *then, const json_t *now) {
    const json_t *a = json_object_get(then, "machine"), *b = json_object_get(now, "machine");
    return json_equal(json_object_get(a, "cpu"), json_object_get(b, "cpu")) &&
           json_equal(json_object_get(a, "cpus"), json_object_get(b, "cpus"));
}

void report_baseline(FILE *out, const json_t *report, const json_t *then, const char *path) {
    const char *started = json_string_value(json_object_get(then, "started"));
    fprintf(out, "\ncompared with %s, measured %s:\n", path, started ? started : "at an unknown time");
    warn(out, then, report, "versions");
    warn(out, then, report, "options");
    if (!same_cpu(then, report))
        fprintf(out, "  note: the machines differ; compare only ratios\n");
    const json_t *rows = json_object_get(report, "workloads"), *rows_then = json_object_get(then, "workloads");
    note_rows(out, rows_then, rows, "the baseline");
    note_rows(out, rows, rows_then, "this run");
    verdict v = {0};
    const char *workload;
    json_t *row;
    json_object_foreach((json_t *)(uintptr_t)rows, workload, row)
        compare_row(out, workload, json_object_get(rows_then, workload), row, &v);
    fprintf(out, "  %d of %d numbers differ by more than the noise of the runs\n", v.differing, v.judged);
    if (v.unjudged > 0)
        fprintf(out, "  %d numbers not judged: the noise needs two runs or more, then and now\n", v.unjudged);
}
