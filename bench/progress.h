/* The progress on stderr: on a terminal one line that is overwritten, elsewhere one line for each run. */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include "bench.h"

void progress_say(const bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_run(const bench *b, const char *name, int run);
void progress_done(const bench *b, const char *name, int run, const char *unit, const json_t *numbers);

/* Ends the line. */
void progress_clear(void);

#endif
