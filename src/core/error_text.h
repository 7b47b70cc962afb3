/* Errors of etcd that only their text distinguishes: many have the same gRPC code, and a canceled watch has no code
 * (ETCD P10). */
#ifndef CORE_ERROR_TEXT_H
#define CORE_ERROR_TEXT_H

#include <etcdworker/error.h>

/* Returns the status that the text means; EW_OK if the text is unknown. etcd returns all of these errors before it
 * applies anything, so a write that got one was certainly not applied. */
int error_text_status(const char *text);

#endif
