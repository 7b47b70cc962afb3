/* The keys that a reactor sees and may write: the prefix without the delete counter and the receipts (SEMANTICS 2, 9,
 * 22). */
#ifndef CORE_GROUP_SCOPE_H
#define CORE_GROUP_SCOPE_H

#include <etcdworker/types.h>

typedef struct group_scope {
    ew_slice prefix; /* borrowed, like all slices here */
    bool textual;
    ew_slice counter_key;
    ew_slice receipt_prefix; /* empty: none */
    int64_t session_lease;   /* 0: none */
    bool *session_used;      /* set to true when a group attaches a key to it; may be NULL */
} group_scope;

bool group_scope_owns(const group_scope *scope, ew_slice key);

/* Writes `key` into `out` as text for an error or a log: printable ASCII, truncated with dots if it does not fit. */
const char *group_key_text(ew_slice key, char *out, size_t size);

#endif
