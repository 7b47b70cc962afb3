/* Errors: one enum for the whole library, and a struct with the detail of one error.
 *
 * Every function that can fail returns an ew_status: EW_OK (0) or one of the negative codes below. Later versions may
 * add codes, so treat an unknown one as an error. A few functions return an `int`, because they may also return other
 * numbers, which they document: ew_scan_next, ew_watch_run, ew_sim_add_worker, and, of the functions that the user
 * writes, ew_watch_fn, ew_modify_fn, ew_patch_fn and the reactor's tick. A function that can describe its failure also
 * takes an `ew_error *`, which may be NULL. A failure fills it; a success leaves it unchanged. */
#ifndef ETCDWORKER_ERROR_H
#define ETCDWORKER_ERROR_H

#include <etcdworker/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*       code                      value  what it means */
#define EW_ERRORS(X)                                                                                                   \
    X(EW_ERR_INVALID, -1, "invalid argument") /* the caller's mistake; the detail names the argument */                \
    X(EW_ERR_NO_MEMORY, -2, "out of memory")                                                                           \
    X(EW_ERR_NOT_FOUND, -3, "not found")              /* no such key, lease or member */                               \
    X(EW_ERR_STATE, -4, "not possible in this state") /* for example started twice, or used after stop */              \
    X(EW_ERR_CANCELLED, -5, "cancelled")              /* by the caller, or by a stop */                                \
    X(EW_ERR_TIMEOUT, -6, "deadline exceeded")        /* of a read; nothing was written */                             \
    X(EW_ERR_UNAVAILABLE, -7, "etcd is unavailable")  /* no endpoint answers, or there is no leader */                 \
    X(EW_ERR_UNKNOWN_OUTCOME, -8, "the outcome of a write is unknown") /* it may have been applied, or may still be */ \
    X(EW_ERR_TOO_LARGE, -9, "too large for one transaction")           /* its keys or bytes exceed the limit */        \
    X(EW_ERR_NO_SPACE, -10, "etcd is out of space")                    /* the NOSPACE alarm is active */               \
    X(EW_ERR_BUSY, -11, "too many requests")                           /* etcd asks the client to slow down */         \
    X(EW_ERR_DENIED, -12, "permission denied")                                                                         \
    X(EW_ERR_UNAUTHENTICATED, -13, "authentication failed") /* the user or password is wrong or missing */             \
    X(EW_ERR_COMPACTED, -14, "the revision has been compacted")                                                        \
    X(EW_ERR_FUTURE_REVISION, -15, "the revision is in the future")                                                    \
    X(EW_ERR_WRONG_CLUSTER, -16, "another cluster answered") /* the cluster id changed */                              \
    X(EW_ERR_REVISION_FELL, -17, "etcd's revision fell")     /* below what was seen, or history was rewritten */       \
    X(EW_ERR_BAD_ANSWER, -18, "etcd sent an invalid response")                                                         \
    X(EW_ERR_BAD_COUNTER, -19, "the delete counter is corrupt") /* SEMANTICS 4: the detail names the key */            \
    X(EW_ERR_OUTSIDE_PREFIX, -20, "the key is outside the prefix, or reserved")                                        \
    X(EW_ERR_REFUSED, -21, "refused: a compare did not hold") /* a submit's compare; or a patch returned EW_DROP */    \
    X(EW_ERR_SESSION_DONE, -22, "the session is done")        /* its lease expired or was revoked */                   \
    X(EW_ERR_FENCED, -23, "another worker uses this worker's id") /* it has written this worker's receipt */           \
    X(EW_ERR_BAD_MESSAGE, -24, "a message on a mailbox is malformed")                                                  \
    X(EW_ERR_SYSTEM, -25, "a system call failed") /* threads, files, sockets */                                        \
    X(EW_ERR_REACTOR, -26, "the reactor failed")  /* for a reactor's own use */                                        \
    X(EW_ERR_LEADERSHIP_LOST, -27, "leadership is lost")                                                               \
    X(EW_ERR_UNSUPPORTED, -28, "not supported by this server")                                                         \
    X(EW_ERR_TOO_OLD, -29, "a later submit of this client was sent") /* the outcome of this one is not kept */         \
    X(EW_ERR_STALE, -30, "what the tick had read has changed")       /* ew_group_expect: the group was dropped */

typedef enum ew_status {
    EW_OK = 0,
#define EW_ERROR_MEMBER(name, value, text) name = value,
    EW_ERRORS(EW_ERROR_MEMBER)
#undef EW_ERROR_MEMBER
} ew_status;

/* Results that are not errors. They are positive and all different, so that a result that a function must not return
 * can be reported by its name. Each of these functions may also return EW_OK.
 *
 *       result      value  which function may return it, and what it means */
#define EW_ANSWERS(X)                                                                                                  \
    X(EW_UNCHANGED, 1) /* ew_modify_fn: leave the key as it is and do not write it */                                  \
    X(EW_REMOVE, 2)    /* ew_modify_fn: delete the key */                                                              \
    X(EW_IGNORE, 3)    /* ew_modify_fn, ew_patch_fn: leave this patch out of the group and undo its changes */         \
    X(EW_AGAIN, 4)     /* ew_modify_fn, ew_patch_fn: give the group up for now and retry it on newer state */          \
    X(EW_DROP, 5)      /* ew_modify_fn, ew_patch_fn: drop the whole group; its callback gets EW_ERR_REFUSED */         \
    X(EW_FINISHED, 6)  /* the reactor's tick: commit this tick's groups, then end the run with success */              \
    X(EW_END, 7)       /* ew_scan_next: there are no more keys */

typedef enum ew_answer {
#define EW_ANSWER_MEMBER(name, value) name = value,
    EW_ANSWERS(EW_ANSWER_MEMBER)
#undef EW_ANSWER_MEMBER
} ew_answer;

/* One error. The detail names the key, endpoint, option or file, and has etcd's own text if there is one. */
typedef struct ew_error {
    ew_status code;
    char detail[256];
} ew_error;

/* The next three functions accept any number, for example a result of ew_scan_next.
 *
 * Returns the fixed English text of a code; "unknown error" for any other number. Never NULL. Any thread. */
EW_API const char *ew_strerror(int code);

/* Returns the name of a code or of a result, such as "EW_ERR_TIMEOUT" or "EW_FINISHED"; "EW_ERR_?" for any other
 * number. Never NULL. Any thread. */
EW_API const char *ew_errname(int code);

/* Returns whether the same call, unchanged, may succeed later: true for EW_ERR_TIMEOUT, EW_ERR_UNAVAILABLE, EW_ERR_BUSY
 * and EW_ERR_NO_SPACE. False for EW_ERR_UNKNOWN_OUTCOME: repeating such a write may apply it twice. Any thread. */
EW_API bool ew_is_retryable(int code);

/* Fills `err` (which may be NULL) and returns `code`, so that a caller can write `return ew_fail(err, code, ...)`.
 * The text is truncated to the size of `detail`. */
EW_API ew_status ew_fail(ew_error *err, ew_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#ifdef __cplusplus
}
#endif
#endif
