/* Errors: one enum for the whole library, and a value that carries the detail.
 *
 * Every function that can fail returns an int: EW_OK (0) or one of the negative codes below. Those whose failure has
 * something to say also take an `ew_error *`, which may be NULL; on failure it is filled, on success left alone. */
#ifndef ETCDWORKER_ERROR_H
#define ETCDWORKER_ERROR_H

#include <etcdworker/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*       code                      value  what it means */
#define EW_ERRORS(X)                                                                                                   \
    X(EW_ERR_INVALID, -1, "invalid argument") /* the caller's mistake; detail names it */                              \
    X(EW_ERR_NO_MEMORY, -2, "out of memory")                                                                           \
    X(EW_ERR_NOT_FOUND, -3, "not found")                               /* no such key, lease, member */                \
    X(EW_ERR_STATE, -4, "not possible in this state")                  /* started twice, used after stop */            \
    X(EW_ERR_CANCELLED, -5, "cancelled")                               /* by the caller, or by a stop */               \
    X(EW_ERR_TIMEOUT, -6, "deadline exceeded")                         /* a read; nothing was written */               \
    X(EW_ERR_UNAVAILABLE, -7, "etcd is unavailable")                   /* no endpoint answers, no leader */            \
    X(EW_ERR_UNKNOWN_OUTCOME, -8, "the outcome of a write is unknown") /* it may have been applied, or may be */       \
    X(EW_ERR_TOO_LARGE, -9, "too large for one transaction")           /* keys or bytes over the limit */              \
    X(EW_ERR_NO_SPACE, -10, "etcd is out of space")                    /* the NOSPACE alarm is raised */               \
    X(EW_ERR_BUSY, -11, "too many requests")                           /* etcd asks to slow down */                    \
    X(EW_ERR_DENIED, -12, "permission denied")                                                                         \
    X(EW_ERR_UNAUTHENTICATED, -13, "authentication failed") /* wrong user or password, or none */                      \
    X(EW_ERR_COMPACTED, -14, "the revision has been compacted")                                                        \
    X(EW_ERR_FUTURE_REVISION, -15, "the revision is in the future")                                                    \
    X(EW_ERR_WRONG_CLUSTER, -16, "another cluster answered") /* the cluster id changed */                              \
    X(EW_ERR_REVISION_FELL, -17, "etcd's revision fell")     /* below what was seen, or history was rewritten */       \
    X(EW_ERR_BAD_ANSWER, -18, "etcd sent an answer that makes no sense")                                               \
    X(EW_ERR_BAD_COUNTER, -19, "the delete counter is corrupt") /* rule 4: the detail names the key */                 \
    X(EW_ERR_OUTSIDE_PREFIX, -20, "the key is outside the prefix, or reserved")                                        \
    X(EW_ERR_REFUSED, -21, "refused: a compare did not hold")     /* a submit's compare, or a patch: EW_DROP */        \
    X(EW_ERR_SESSION_DONE, -22, "the session is done")            /* its lease expired or was revoked */               \
    X(EW_ERR_FENCED, -23, "another worker uses this worker's id") /* its receipt is not ours */                        \
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

/* Answers that are not errors: positive, each with a value of its own, so that an answer given in the wrong place is an
 * error that names it. EW_OK is an answer of all of them.
 *
 *       answer      value  who may give it, and what it means */
#define EW_ANSWERS(X)                                                                                                  \
    X(EW_UNCHANGED, 1) /* ew_modify_fn: leave the key as it is and do not write it */                                  \
    X(EW_REMOVE, 2)    /* ew_modify_fn: delete the key */                                                              \
    X(EW_IGNORE, 3)    /* ew_modify_fn, ew_patch_fn: leave this patch out of the group and undo what it changed */     \
    X(EW_AGAIN, 4)     /* ew_modify_fn, ew_patch_fn: abort the group for now, retry it when the state has moved */     \
    X(EW_DROP, 5)      /* ew_modify_fn, ew_patch_fn: drop the whole group; its callback gets EW_ERR_REFUSED */         \
    X(EW_FINISHED, 6)  /* the reactor's tick: commit this tick's groups, then end the run with success */              \
    X(EW_END, 7)       /* ew_scan_next: there is no further key */

typedef enum ew_answer {
#define EW_ANSWER_MEMBER(name, value) name = value,
    EW_ANSWERS(EW_ANSWER_MEMBER)
#undef EW_ANSWER_MEMBER
} ew_answer;

/* What went wrong, in words: the key, endpoint, option or file, and etcd's own text where there is one. */
typedef struct ew_error {
    int code; /* an ew_status */
    char detail[256];
} ew_error;

/* The fixed English text of a code; "unknown error" for any other number. Never NULL. Any thread. */
EW_API const char *ew_strerror(int code);

/* The name of a code or of an answer, "EW_ERR_TIMEOUT", "EW_FINISHED"; "EW_ERR_?" for any other number. Never NULL. Any
 * thread. */
EW_API const char *ew_errname(int code);

/* Whether the same call may succeed later with nothing changed by the caller: TIMEOUT, UNAVAILABLE, BUSY, NO_SPACE.
 * UNKNOWN_OUTCOME is not among them: repeating such a write may apply it twice. */
EW_API bool ew_is_retryable(int code);

/* Fills `err` (which may be NULL) and returns `code`, so that a caller can write `return ew_fail(err, code, ...)`.
 * The text is cut at the size of `detail`. */
EW_API int ew_fail(ew_error *err, int code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#ifdef __cplusplus
}
#endif
#endif
