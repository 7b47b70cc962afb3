/* Where the library's log records go: to the process's function (ew_log_set), or to that of the client or worker that
 * they are about (ew_options_set_log in <etcdworker/options.h>). By default they are discarded. */
#ifndef ETCDWORKER_LOG_H
#define ETCDWORKER_LOG_H

#include <etcdworker/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ew_log_level {
    EW_LOG_ERROR = 0, /* the run ends, or data may be lost */
    EW_LOG_WARN = 1,  /* a problem that the library handles: reconnects, repeated conflicts, slow ticks */
    EW_LOG_INFO = 2,  /* the few events of a normal life cycle: started, synced, stopped */
    EW_LOG_DEBUG = 3, /* every transition of every state machine */
} ew_log_level;

/* One field of a record. For a number `text` is NULL. */
typedef struct ew_log_field {
    const char *name;
    const char *text;
    int64_t number;
} ew_log_field;

/* One record. Everything in it is borrowed for the duration of the call. Fields may contain keys, but never values. */
typedef struct ew_log_record {
    ew_log_level level;
    const char *worker;  /* the worker's name, or NULL */
    const char *area;    /* "watcher", "reactor", "committer", "etcd", ... */
    const char *message; /* a constant text that can be counted, except in area "app": see ew_log */
    const ew_log_field *fields;
    size_t field_count;
} ew_log_record;

/* Receives records, on any thread and on several at once: it must be thread safe, and must not call the library. It
 * must not block: while it waits, for example for a pipe that nobody reads, a tick, a watch or a lease waits too. Put
 * the record into a bounded queue and write it on a separate thread, as etcdworkerd does. */
typedef void (*ew_log_fn)(void *arg, const ew_log_record *record);

/* Sends the records of the process up to `level` to `fn`, except those of clients and workers with a function of their
 * own; NULL turns this off. Call it before any other function of the library, from one thread. */
EW_API void ew_log_set(ew_log_fn fn, void *arg, ew_log_level level);

/* Writes a record of the application, in area "app". The record has the name of the worker whose reactor function,
 * patch or completion callback is running, or whose plugin is being created; otherwise no name. The text is truncated
 * to 511 bytes. It goes to that worker's log function. A record above the level that was set costs one comparison. Any
 * thread. */
EW_API void ew_log(ew_log_level level, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

#ifdef __cplusplus
}
#endif
#endif
