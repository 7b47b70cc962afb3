#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

/* Set once, before any thread of the library exists (<etcdworker/log.h>), so it needs no lock. */
static log_sink process_sink;

static _Thread_local const log_source *this_source;

void log_set_source(const log_source *from) {
    this_source = from;
}

void ew_log_set(ew_log_fn fn, void *arg, ew_log_level level) {
    process_sink = (log_sink){fn, arg, level};
}

static const log_sink *sink_of(const log_source *from) {
    return from && from->sink.fn ? &from->sink : &process_sink;
}

bool log_on(const log_source *from, ew_log_level level) {
    const log_sink *sink = sink_of(from);
    return sink->fn && level <= sink->level;
}

void log_write(ew_log_level level, const log_source *from, const char *area, const char *message,
               const ew_log_field *fields, size_t count) {
    if (!log_on(from, level))
        return;
    const log_sink *sink = sink_of(from);
    const ew_log_record record = {level, from ? from->worker : NULL, area, message, fields, count};
    sink->fn(sink->arg, &record);
}

void ew_log(ew_log_level level, const char *format, ...) {
    char text[512];
    if ((unsigned)level > EW_LOG_DEBUG) /* the callback may use it as an index */
        level = EW_LOG_DEBUG;
    if (!log_on(this_source, level))
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_write(level, this_source, "app", length < 0 ? "" : text, NULL, 0);
}
