/* Readable texts that say why endpoints cannot be used, each endpoint with its own reason. */
#ifndef ETCD_REASON_H
#define ETCD_REASON_H

#include <etcdworker/types.h>

/* A text of bounded size: "what: a:1: connection refused; b:1: no answer". The end says how many did not fit. */
typedef struct reason_list {
    char *out;
    size_t size, used;
    size_t count, left_out;
} reason_list;

void reason_begin(reason_list *l, const char *what);
void reason_add(reason_list *l, const char *who, const char *why); /* `who` may be NULL */

/* Returns the useful part of gRPC's text. It points into `text` or is a constant. */
const char *reason_shorten(const char *text);

/* Returns whether gRPC's text is not specific enough: the connection was made and then closed, or its TLS failed. */
bool reason_is_unclear(const char *text);

/* Returns whether the reason does not go away with time: the two sides do not agree on TLS. */
bool reason_is_final(const char *text);

#endif
