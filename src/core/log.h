/* Writes log records. The callbacks are the application's (<etcdworker/log.h>); without one a record costs a
 * comparison. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <etcdworker/log.h>

/* A callback and its level. `fn` NULL: the process's callback and level. */
typedef struct log_sink {
    ew_log_fn fn;
    void *arg;
    ew_log_level level;
} log_sink;

/* What a record is about. A NULL pointer stands for no worker and the process's callback. */
typedef struct log_source {
    const char *worker; /* the name in the record; NULL: none */
    log_sink sink;      /* who gets the record */
} log_source;

/* A worker by its name alone, whose records go to the process's callback. */
#define LOG_NAMED(name) (&(const log_source){.worker = (name)})

bool log_on(const log_source *from, ew_log_level level);

/* Sets the source of ew_log's records on the calling thread from now on. It is borrowed; NULL: none. */
void log_set_source(const log_source *from);

/* Writes a record with `count` fields; `fields` may be NULL if `count` is 0. */
void log_write(ew_log_level level, const log_source *from, const char *area, const char *message,
               const ew_log_field *fields, size_t count);

/* log_fields(level, from, area, message, {"key", text}, {"ms", NULL, 5}) */
#define log_fields(level, from, area, message, ...)                                                                    \
    do {                                                                                                               \
        if (log_on(from, level)) {                                                                                     \
            const ew_log_field log_list_[] = {__VA_ARGS__};                                                            \
            log_write(level, from, area, message, log_list_, sizeof log_list_ / sizeof log_list_[0]);                  \
        }                                                                                                              \
    } while (0)

#endif
