/* Writes log records. The callback is the application's (<etcdworker/log.h>); without one a record costs a
 * comparison. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <etcdworker/log.h>

bool log_on(ew_log_level level);

/* Sets the worker whose name ew_log uses on the calling thread from now on; NULL: none. The name is borrowed. */
void log_set_worker(const char *name);

/* Writes a record with `count` fields; `fields` may be NULL if `count` is 0. */
void log_write(ew_log_level level, const char *worker, const char *area, const char *message,
               const ew_log_field *fields, size_t count);

/* log_fields(level, worker, area, message, {"key", text}, {"ms", NULL, 5}) */
#define log_fields(level, worker, area, message, ...)                                                                  \
    do {                                                                                                               \
        if (log_on(level)) {                                                                                           \
            const ew_log_field log_list_[] = {__VA_ARGS__};                                                            \
            log_write(level, worker, area, message, log_list_, sizeof log_list_ / sizeof log_list_[0]);                \
        }                                                                                                              \
    } while (0)

#endif
