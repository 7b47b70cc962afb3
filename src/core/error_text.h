/* Errors of etcd that only their text distinguishes: many have the same gRPC code, and a canceled watch has none (ETCD
 * P10). */
#ifndef CORE_ERROR_TEXT_H
#define CORE_ERROR_TEXT_H

#include <etcdworker/error.h>

/* Returns what the text says, EW_OK if it is not known. etcd returns all of these errors before it applies anything, so
 * they are certain for writes too. */
int error_text_status(const char *text);

#endif
