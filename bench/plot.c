#include "plot.h"

#include "histogram.h"
#include "measure.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Runs gnuplot on a script. Returns its output from the <svg> tag on, which the caller frees; NULL on an error. */
static char *draw(const char *script) {
    char path[] = "/tmp/etcdworker-bench-XXXXXX", command[64];
    int fd = mkstemp(path);
    if (fd < 0)
        return NULL;
    FILE *f = fdopen(fd, "w");
    bool ok = f && fputs(script, f) >= 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    snprintf(command, sizeof command, "gnuplot %s 2>/dev/null", path);
    FILE *p = ok ? popen(command, "re") : NULL;
    char *svg = NULL;
    size_t len = 0;
    FILE *all = open_memstream(&svg, &len);
    char chunk[4096];
    for (size_t got; p && all && (got = fread(chunk, 1, sizeof chunk, p)) > 0;)
        fwrite(chunk, 1, got, all);
    if (all)
        fclose(all);
    ok = p && pclose(p) == 0;
    unlink(path);
    char *begin = ok && svg ? strstr(svg, "<svg") : NULL;
    char *result = begin ? strdup(begin) : NULL;
    free(svg);
    return result;
}

static const char head[] =
    "set terminal svg size 860,420 dynamic font 'sans-serif,13' background '#ffffff'\n"
    "set border 3\nset tics nomirror\nset grid ytics lc rgb '#dddddd'\nset key outside right Left reverse "
    "samplen 2\n";

typedef struct script {
    FILE *out;
    char *text;
    size_t len;
} script;

static bool script_open(script *s) {
    s->out = open_memstream(&s->text, &s->len);
    if (s->out)
        fputs(head, s->out);
    return s->out != NULL;
}

/* Draws the plot, unless it has no points, and frees the script. */
static char *script_draw(script *s, size_t points) {
    fclose(s->out);
    char *svg = points > 0 ? draw(s->text) : NULL;
    free(s->text);
    return svg;
}

char *plot_ratios(const json_t *workloads) {
    script s;
    size_t points = 0;
    const char *name;
    json_t *row;
    if (!script_open(&s))
        return NULL;
    fputs(
        "set title 'Throughput / throughput of the floor (lines: smallest and largest pair)' noenhanced\n"
        "unset key\nset yrange [0:*]\nset xtics scale 0 rotate by -35 noenhanced\nset offsets 0.5,0.5,0,0\n$d << EOD\n",
        s.out);
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        if (measure_number(row, "ratio", 0) <= 0)
            continue;
        fprintf(s.out, "%zu %s %g %g %g\n", points++, name, measure_number(row, "ratio", 0),
                measure_number(row, "ratio_min", 0), measure_number(row, "ratio_max", 0));
    }
    fputs("EOD\nset style fill solid 0.7 noborder\nset errorbars front lc rgb '#222222'\n"
          "plot 1 with lines dt 2 lc rgb '#888888', $d using 1:3:4:5:(0.6):xtic(2) with boxerrorbars lc rgb "
          "'#3b7dd8'\n",
          s.out);
    return script_draw(&s, points);
}

char *plot_steps(const json_t *workloads) {
    /* Waits for etcd are blue, hops of messages are orange. */
    static const char *const colours[STEPS] = {"#7a4fa3", "#b08fd0", "#e07b29", "#3b7dd8",
                                               "#93bdf0", "#f2b583", "#555555"};
    script s;
    size_t points = 0;
    const char *name;
    json_t *row;
    if (!script_open(&s))
        return NULL;
    fputs("set title \"Where a tick's time goes, means\"\nset ylabel 'microseconds'\nset yrange [0:*]\n"
          "set style data histograms\nset style histogram rowstacked\nset style fill solid 0.8 noborder\n"
          "set boxwidth 0.5\nset key invert noenhanced\nset xtics scale 0 noenhanced\n$d << EOD\n",
          s.out);
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        double us[STEPS];
        if (report_steps(row, us) <= 0)
            continue;
        points++;
        fprintf(s.out, "%s", name);
        for (step i = 0; i < STEPS; i++)
            fprintf(s.out, " %g", us[i]);
        fputc('\n', s.out);
    }
    fputs("EOD\n", s.out);
    for (step i = 0; i < STEPS; i++)
        fprintf(s.out, "%s $d using %d:xtic(1) lc rgb '%s' title '%s'", i == 0 ? "plot" : ",", (int)i + 2, colours[i],
                step_title(i));
    fputc('\n', s.out);
    return script_draw(&s, points);
}

char *plot_state_sizes(const json_t *workloads) {
    script s;
    size_t points = 0;
    const char *name;
    json_t *row;
    if (!script_open(&s))
        return NULL;
    fputs("set title 'Ticks per second, by the number of other keys of 256 bytes'\nset logscale x\nset yrange [0:*]\n"
          "set xlabel 'keys'\nset ylabel 'ticks/s'\nset y2label 'peak memory, MiB'\nset y2tics\nset y2range [0:*]\n"
          "$d << EOD\n",
          s.out);
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        if (strncmp(name, "bigstate", 8) != 0)
            continue;
        points++;
        fprintf(s.out, "%.0f %g %g %g\n", measure_number(row, "keys", 1) - 1, measure_number(row, "ticks_per_s", 0),
                measure_number(row, "floor_per_s", 0), measure_number(row, "max_rss_kb", 0) / 1024);
    }
    fputs("EOD\nplot $d using 1:2 with linespoints lw 2 pt 7 lc rgb '#3b7dd8' title 'worker', "
          "'' using 1:3 with linespoints lw 2 pt 6 lc rgb '#888888' title 'floor', "
          "'' using 1:4 axes x1y2 with linespoints dt 2 pt 5 lc rgb '#d8743b' title 'memory'\n",
          s.out);
    return script_draw(&s, points);
}

/* Writes the curve of one histogram as a data block. Returns false if there is none. */
static bool add_curve(FILE *out, size_t number, const json_t *buckets, double max_us) {
    static const double percents[] = {0.1, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99};
    histogram *h = malloc(sizeof *h);
    bool ok = h && histogram_from_json(h, buckets, (uint64_t)(max_us * 1e3)) && h->total > 0;
    if (ok) {
        fprintf(out, "$d%zu << EOD\n", number);
        for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++)
            if ((double)h->total * (100 - percents[i]) / 100 >= 1) /* beyond, a point would depend on one value */
                fprintf(out, "%g %g\n", 100 / (100 - percents[i]), (double)histogram_percentile(h, percents[i]) / 1e3);
        fputs("EOD\n", out);
    }
    free(h);
    return ok;
}

char *plot_percentiles(const json_t *workloads) {
    enum { CURVES = 24 };
    const char *titles[CURVES];
    script s;
    size_t count = 0;
    const char *name;
    json_t *row;
    if (!script_open(&s))
        return NULL;
    fputs("set title 'Latency by percentile'\nset logscale xy\nset format y '%.0f'\nset ylabel 'microseconds'\n"
          "set xtics ('0' 1, '50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000)\nset xlabel 'percentile'\n",
          s.out);
    json_object_foreach((json_t *)(uintptr_t)workloads, name, row) {
        const json_t *buckets = json_object_get(row, "latency");
        double max_us = measure_number(row, "latency_max_us", 0);
        if (buckets && count < CURVES && add_curve(s.out, count, buckets, max_us > 0 ? max_us : 1e12))
            titles[count++] = name;
    }
    for (size_t i = 0; i < count; i++)
        fprintf(s.out, "%s $d%zu using 1:2 with lines lw 2 dt %zu title '%s' noenhanced", i == 0 ? "plot" : ",", i,
                i / 8 + 1, titles[i]);
    fputc('\n', s.out);
    return script_draw(&s, count);
}
