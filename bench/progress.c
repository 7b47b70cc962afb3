#include "progress.h"

#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static bool on_terminal(void) {
    return isatty(STDERR_FILENO) == 1;
}

static void begin(void) {
    if (on_terminal())
        fputs("\r\033[K", stderr);
}

static void end(void) {
    if (!on_terminal())
        fputc('\n', stderr);
    fflush(stderr);
}

void progress_clear(void) {
    begin();
    fflush(stderr);
}

static void where(const bench *b) {
    fprintf(stderr, "[%zu/%d] ", json_object_size(b->rows) + 1, b->rows_planned);
}

void progress_say(const bench *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    begin();
    where(b);
    vfprintf(stderr, format, args);
    end();
    va_end(args);
}

void progress_run(const bench *b, const char *name, int run) {
    if (!on_terminal())
        return; /* without a terminal, only the results are printed */
    begin();
    where(b);
    fprintf(stderr, "%s: run %d of %d", name, run + 1, b->runs);
    end();
}

void progress_done(const bench *b, const char *name, int run, const char *unit, const json_t *numbers) {
    char key[64];
    snprintf(key, sizeof key, "%ss_per_s", unit);
    begin();
    where(b);
    fprintf(stderr, "%s: run %d of %d: %.0f %ss/s", name, run + 1, b->runs, measure_number(numbers, key, 0), unit);
    double ratio = measure_number(numbers, "ratio", 0);
    if (ratio > 0)
        fprintf(stderr, ", %.2f of the floor", ratio);
    end();
}
