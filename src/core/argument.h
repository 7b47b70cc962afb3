/* Checks the pointers that a caller of the public API must pass. */
#ifndef CORE_ARGUMENT_H
#define CORE_ARGUMENT_H

#include <etcdworker/error.h>

/* Returns whether `pointer` is NULL; then `err` (which may be NULL) names the function and the argument:
 *     if (ARGUMENT_MISSING(client, err))
 *         return EW_ERR_INVALID; */
#define ARGUMENT_MISSING(pointer, err) argument_missing((pointer), #pointer, __func__, (err))
bool argument_missing(const void *pointer, const char *argument, const char *function, ew_error *err);

#endif
