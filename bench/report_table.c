#include "measure.h"
#include "others.h"
#include "report.h"

#include <string.h>

void report_rate_name(const json_t *row, char *out, size_t size) {
    snprintf(out, size, "%ss_per_s", json_string_value(json_object_get(row, "unit")));
}

void report_time(double us, char *out, size_t size) {
    if (us <= 0)
        snprintf(out, size, "-");
    else if (us < 1000)
        snprintf(out, size, "%.0f us", us);
    else if (us < 1e6)
        snprintf(out, size, us < 1e5 ? "%.1f ms" : "%.0f ms", us / 1e3);
    else
        snprintf(out, size, "%.1f s", us / 1e6);
}

void report_remark(const json_t *row, char *out, size_t size) {
    static const struct {
        const char *name, *format;
    } remarks[] = {
        {"txns_per_tick", "%.2f transactions per tick"},
        {"txns_per_commit", "%.2f transactions per commit"},
        {"load_s", "loaded in %.3f s"},
        {"load_ratio", "%.2f of bare paging"},
        {"rss_ratio", "RSS %.2f of keys and values"},
        {"snapshots", "%.0f snapshot"},
    };
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof remarks / sizeof remarks[0]; i++) {
        double value = measure_number(row, remarks[i].name, -1);
        char text[64];
        if (value < 0)
            continue;
        snprintf(text, sizeof text, remarks[i].format, value);
        len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "", text);
        if (len >= size)
            return;
    }
}

static const char *unit_of(const json_t *row) {
    return json_string_value(json_object_get(row, "unit"));
}

/* ---- 80 columns ---- */

/* Writes a ratio, or "-" if the row has none. Returns `out`. */
static const char *quotient(const json_t *row, const char *name, char *out, size_t size) {
    double value = measure_number(row, name, 0);
    snprintf(out, size, value > 0 ? "%.2f" : "-", value);
    return out;
}

/* Like report_time, but with a decimal below 1 ms, because an event takes only a few microseconds. */
static void print_cpu(double us, char *out, size_t size) {
    if (us < 1000)
        snprintf(out, size, "%.1f us", us);
    else
        report_time(us, out, size);
}

static void print_row_narrow(FILE *out, const char *name, const json_t *row) {
    char rate[64], key[64], ratio[16], p50[16], p99[16], cpu[64], cpu_ratio[16];
    report_rate_name(row, key, sizeof key);
    snprintf(rate, sizeof rate, "%.0f %ss/s", measure_number(row, key, 0), unit_of(row));
    report_time(measure_number(row, "latency_p50_us", 0), p50, sizeof p50);
    report_time(measure_number(row, "latency_p99_us", 0), p99, sizeof p99);
    snprintf(key, sizeof key, "cpu_us_per_%s", unit_of(row));
    print_cpu(measure_number(row, key, 0), cpu, sizeof cpu);
    snprintf(key, sizeof key, "switches_per_%s", unit_of(row));
    fprintf(out, "%-13s %16s %6s %8s %8s %9s %6s %7.1f\n", name, rate, quotient(row, "ratio", ratio, sizeof ratio), p50,
            p99, cpu, quotient(row, "cpu_ratio", cpu_ratio, sizeof cpu_ratio), measure_number(row, key, 0));
}

static void print_legend(FILE *out) {
    fprintf(out, "\nratio: throughput / that of the floor, pair by pair. p50, p99: latency.\n"
                 "CPU/unit: CPU time of one unit (tick, event, commit). CPU x: that / the floor's.\n"
                 "switch: context switches of one unit. --wide shows the floor, RSS and more.\n");
}

/* ---- all columns ---- */

static void print_row_wide(FILE *out, const char *name, const json_t *row) {
    char rate[64], key[64], ratio[64] = "-", floor[32] = "-", p50[16], p90[16], p99[16], max[16], remark[160];
    const char *unit = unit_of(row);
    report_rate_name(row, key, sizeof key);
    snprintf(rate, sizeof rate, "%.0f %ss/s", measure_number(row, key, 0), unit);
    if (measure_number(row, "ratio", 0) > 0) {
        snprintf(ratio, sizeof ratio, "%.2f (%.2f-%.2f)", measure_number(row, "ratio", 0),
                 measure_number(row, "ratio_min", 0), measure_number(row, "ratio_max", 0));
        snprintf(floor, sizeof floor, "%.0f", measure_number(row, "floor_per_s", 0));
    }
    report_time(measure_number(row, "latency_p50_us", 0), p50, sizeof p50);
    report_time(measure_number(row, "latency_p90_us", 0), p90, sizeof p90);
    report_time(measure_number(row, "latency_p99_us", 0), p99, sizeof p99);
    report_time(measure_number(row, "latency_max_us", 0), max, sizeof max);
    report_remark(row, remark, sizeof remark);
    char cpu[64], cpu_ratio[16] = "-", switches[64];
    snprintf(key, sizeof key, "cpu_us_per_%s", unit);
    print_cpu(measure_number(row, key, 0), cpu, sizeof cpu);
    if (measure_number(row, "cpu_ratio", 0) > 0)
        snprintf(cpu_ratio, sizeof cpu_ratio, "%.2f", measure_number(row, "cpu_ratio", 0));
    snprintf(key, sizeof key, "switches_per_%s", unit);
    snprintf(switches, sizeof switches, "%.1f", measure_number(row, key, 0));
    fprintf(out, "%-14s %18s %9s %17s %8s %8s %8s %8s %9s %9s %8s %8.1f %7.0f %7.2f  %s\n", name, rate, floor, ratio,
            p50, p90, p99, max, cpu, cpu_ratio, switches, measure_number(row, "max_rss_kb", 0) / 1024,
            measure_number(row, "threads", 0), measure_number(row, "seconds", 0), remark);
}

double report_steps(const json_t *row, double *us) {
    double sum = 0;
    for (step s = 0; s < STEPS; s++) {
        us[s] = measure_number(row, step_field(s), 0);
        sum += us[s];
    }
    return sum;
}

const char *report_step(const json_t *row, step s, char *out, size_t size) {
    double us = measure_number(row, step_field(s), 0);
    snprintf(out, size, "-");
    if (json_object_get(row, step_field(s)))
        snprintf(out, size, us < 1e4 ? "%.1f" : "%.0f", us);
    return out;
}

static bool has_steps(const json_t *row) {
    for (step s = 0; s < STEPS; s++)
        if (json_object_get(row, step_field(s)))
            return true;
    return false;
}

static void print_steps(FILE *out, const json_t *workloads) {
    const char *name;
    json_t *row;
    bool begun = false;
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        char text[32];
        double us[STEPS], sum = report_steps(row, us);
        if (!has_steps(row))
            continue;
        if (!begun) {
            fprintf(out, "\n%-13s", "us of a tick");
            for (step s = 0; s < STEPS; s++)
                fprintf(out, " %7s", step_short(s));
            fprintf(out, " %8s\n", "total");
        }
        begun = true;
        fprintf(out, "%-13s", name);
        for (step s = 0; s < STEPS; s++)
            fprintf(out, " %7s", report_step(row, s, text, sizeof text));
        fprintf(out, sum < 1e5 ? " %8.1f\n" : " %8.0f\n", sum);
    }
}

static void print_scaling(FILE *out, const json_t *scaling) {
    const char *name;
    json_t *quotients;
    if (json_object_size(scaling) > 0)
        fprintf(out, "\n%-26s %12s %12s %12s %12s\n", "large / small", "throughput", "of the floor", "ratio",
                "CPU/unit");
    json_object_foreach((json_t *)(uintptr_t)scaling, name, quotients)
        fprintf(out, "%-26s %12.2f %12.2f %12.2f %12.2f\n", name, measure_number(quotients, "ticks_per_s", 0),
                measure_number(quotients, "floor_per_s", 0), measure_number(quotients, "ratio", 0),
                measure_number(quotients, "cpu_us_per_tick", 0));
}

static void warn_of_others(FILE *out, const json_t *workloads) {
    const char *name;
    json_t *row;
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        double cpus = measure_others(row);
        if (cpus > OTHERS_CPUS_MAX)
            fprintf(out, "warning: %s: other programs used up to %.2f CPUs; do not trust it\n", name, cpus);
    }
}

void report_table(FILE *out, const json_t *report, bool wide) {
    const json_t *workloads = json_object_get(report, "workloads");
    const char *name;
    json_t *row;
    if (wide)
        fprintf(out, "%-14s %18s %9s %17s %8s %8s %8s %8s %9s %9s %8s %8s %7s %7s\n", "workload", "throughput",
                "floor/s", "ratio (min-max)", "p50", "p90", "p99", "max", "CPU/unit", "CPU ratio", "switches",
                "RSS MiB", "threads", "seconds");
    else
        fprintf(out, "%-13s %16s %6s %8s %8s %9s %6s %7s\n", "workload", "throughput", "ratio", "p50", "p99",
                "CPU/unit", "CPU x", "switch");
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        if (wide)
            print_row_wide(out, name, row);
        else
            print_row_narrow(out, name, row);
    }
    if (!wide)
        print_legend(out);
    print_steps(out, workloads);
    print_scaling(out, json_object_get(report, "scaling"));
    warn_of_others(out, workloads);
}
