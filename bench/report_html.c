#include "measure.h"
#include "plot.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void escaped(FILE *out, const char *text) {
    for (; text && *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

static void describe(FILE *out, const json_t *report, const char *what) {
    const char *name, *between = "";
    json_t *value;
    fprintf(out, "<tr><th>%s<td>", what);
    json_object_foreach(json_object_get(report, what), name, value) {
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(3));
        fprintf(out, "%s%s&nbsp;", between, name);
        escaped(out, text);
        between = "; ";
        free(text);
    }
    fputs("\n", out);
}

static void latency_cells(FILE *out, const json_t *row) {
    static const char *const names[] = {"latency_p50_us", "latency_p90_us", "latency_p99_us", "latency_max_us"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[16];
        report_time(measure_number(row, names[i], 0), text, sizeof text);
        fprintf(out, "<td>%s", text);
    }
}

static void table_row(FILE *out, const char *name, const json_t *row) {
    const char *unit = json_string_value(json_object_get(row, "unit"));
    char key[64], remark[160];
    report_rate_name(row, key, sizeof key);
    fprintf(out, "<tr><th>%s<td>%.0f %ss/s", name, measure_number(row, key, 0), unit);
    if (measure_number(row, "ratio", 0) > 0)
        fprintf(out, "<td>%.0f<td>%.2f (%.2f&ndash;%.2f)", measure_number(row, "floor_per_s", 0),
                measure_number(row, "ratio", 0), measure_number(row, "ratio_min", 0),
                measure_number(row, "ratio_max", 0));
    else
        fputs("<td>-<td>-", out);
    latency_cells(out, row);
    snprintf(key, sizeof key, "cpu_us_per_%s", unit);
    fprintf(out, "<td>%.1f us", measure_number(row, key, 0));
    if (measure_number(row, "cpu_ratio", 0) > 0)
        fprintf(out, "<td>%.2f", measure_number(row, "cpu_ratio", 0));
    else
        fputs("<td>-", out);
    snprintf(key, sizeof key, "switches_per_%s", unit);
    report_remark(row, remark, sizeof remark);
    fprintf(out, "<td>%.1f<td>%.1f<td>%.0f<td class=left>%s\n", measure_number(row, key, 0),
            measure_number(row, "max_rss_kb", 0) / 1024, measure_number(row, "threads", 0), remark);
}

static void steps_table(FILE *out, const json_t *workloads) {
    const char *name;
    json_t *row;
    fputs("<table>\n<tr><th>us of a tick", out);
    for (step s = 0; s < STEPS; s++)
        fprintf(out, "<th>%s", step_title(s));
    fputs("<th>total\n", out);
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        char text[32];
        double us[STEPS], sum = report_steps(row, us);
        if (sum <= 0)
            continue;
        fprintf(out, "<tr><th>%s", name);
        for (step s = 0; s < STEPS; s++)
            fprintf(out, "<td>%s", report_step(row, s, text, sizeof text));
        fprintf(out, "<td>%.1f\n", sum);
    }
    fputs("</table>\n", out);
}

static void scaling_table(FILE *out, const json_t *scaling) {
    const char *name;
    json_t *quotients;
    if (json_object_size(scaling) == 0)
        return;
    fputs("<table>\n<tr><th>large / small<th>throughput<th>of the floor<th>ratio<th>CPU/unit\n", out);
    json_object_foreach((json_t *)(uintptr_t)scaling, name, quotients)
        fprintf(out, "<tr><th>%s<td>%.2f<td>%.2f<td>%.2f<td>%.2f\n", name, measure_number(quotients, "ticks_per_s", 0),
                measure_number(quotients, "floor_per_s", 0), measure_number(quotients, "ratio", 0),
                measure_number(quotients, "cpu_us_per_tick", 0));
    fputs("</table>\n", out);
}

static void figure(FILE *out, char *svg, int *missing) {
    if (svg)
        fprintf(out, "<figure>%s</figure>\n", svg);
    else
        ++*missing;
    free(svg);
}

static void page(FILE *out, const json_t *report) {
    const json_t *workloads = json_object_get(report, "workloads");
    const char *name, *started = json_string_value(json_object_get(report, "started"));
    json_t *row;
    fprintf(out,
            "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
            "<meta name=viewport content='width=device-width,initial-scale=1'>\n"
            "<title>etcdworker-bench, %s</title>\n<style>\n"
            "body{font:15px/1.45 system-ui,sans-serif;max-width:1280px;margin:2em auto;padding:0 1em;color:#222;"
            "background:#fff}\n"
            "table{border-collapse:collapse;margin:1em 0;font-size:13px;display:block;overflow-x:auto}\n"
            "th,td{padding:.25em .5em;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}\n"
            "th:first-child,td.left,.about td{text-align:left}\ntd.left,.about "
            "td{white-space:normal}td.left{min-width:12em}\n"
            "figure{margin:1.5em 0}figure svg{max-width:100%%;height:auto}\n</style>\n"
            "<h1>etcdworker-bench</h1>\n<p>Measured %s, in %.0f s. Throughput and CPU time are medians over the runs; "
            "the ratio is throughput / that of the floor, for each pair of runs; latencies are those of all runs.\n",
            started, started, measure_number(report, "seconds", 0));
    fputs("<table>\n<tr><th>workload<th>throughput<th>floor/s<th>ratio (min&ndash;max)<th>p50<th>p90<th>p99<th>max"
          "<th>CPU/unit<th>CPU ratio<th>switches<th>peak MiB<th>threads<th>\n",
          out);
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) table_row(out, name, row);
    fputs("</table>\n", out);
    steps_table(out, workloads);
    scaling_table(out, json_object_get(report, "scaling"));
    int missing = 0;
    figure(out, plot_ratios(workloads), &missing);
    figure(out, plot_steps(workloads), &missing);
    figure(out, plot_state_sizes(workloads), &missing);
    figure(out, plot_percentiles(workloads), &missing);
    if (missing > 0)
        fprintf(out, "<p>Missing plots: %d. Their workloads were not run, or gnuplot was not found.\n", missing);
    fputs("<h2>Machine, versions, options</h2>\n<table class=about>\n", out);
    describe(out, report, "machine");
    describe(out, report, "versions");
    describe(out, report, "options");
    fputs("</table>\n</html>\n", out);
}

bool report_html(const json_t *report, const char *path) {
    FILE *out = fopen(path, "we");
    if (out)
        page(out, report);
    if (!out || fclose(out) != 0) {
        fprintf(stderr, "etcdworker-bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    return true;
}
