/* Where the library's log records go: nowhere, until the application says so. */
#ifndef ETCDWORKER_LOG_H
#define ETCDWORKER_LOG_H

#include <etcdworker/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ew_log_level {
    EW_LOG_ERROR = 0, /* the run ends, or data is at stake */
    EW_LOG_WARN = 1,  /* something is wrong and is being dealt with: reconnects, conflicts that last, slow ticks */
    EW_LOG_INFO = 2,  /* a life's few events: started, synced, stopped */
    EW_LOG_DEBUG = 3, /* every move of every state machine */
} ew_log_level;

/* One field of a record. A number has `text` NULL. */
typedef struct ew_log_field {
    const char *name;
    const char *text;
    int64_t number;
} ew_log_field;

/* One record. Everything in it is borrowed for the length of the call. Keys may appear in a field, values never do. */
typedef struct ew_log_record {
    ew_log_level level;
    const char *worker;  /* the worker's name, or NULL */
    const char *area;    /* "watcher", "reactor", "committer", "etcd", ... */
    const char *message; /* constant text, fit for counting, but for area "app": see ew_log */
    const ew_log_field *fields;
    size_t field_count;
} ew_log_record;

/* Called on whichever thread has something to say, several at once: it must be thread safe, and must not call back into
 * the library. It must not block: while it waits for a pipe that nobody reads, a tick, a watch or a lease waits for it.
 * Queue the record, with a bound, and write it on a thread of its own, as etcdworkerd does. */
typedef void (*ew_log_fn)(void *arg, const ew_log_record *record);

/* Sends the records of the whole process up to `level` to `fn`; NULL turns them off. Call it before any other function
 * of the library, from one thread. */
EW_API void ew_log_set(ew_log_fn fn, void *arg, ew_log_level level);

/* Writes a record of the application's own, of area "app", with the name of the worker whose reactor's function, patch
 * or completion callback is running (or whose plugin is being created), or else without one. The text is cut at 511
 * bytes. Any thread. What is above the level that was set costs a comparison. */
EW_API void ew_log(ew_log_level level, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

#ifdef __cplusplus
}
#endif
#endif
