/* Why endpoints cannot be used, as a text for people: each with its own reason. */
#ifndef ETCD_REASON_H
#define ETCD_REASON_H

#include <etcdworker/types.h>

/* A text of bounded size: "what: a:1: connection refused; b:1: no answer". What has no room is counted at its end. */
typedef struct reason_list {
    char *out;
    size_t size, used;
    size_t count, left_out;
} reason_list;

void reason_begin(reason_list *l, const char *what);
void reason_add(reason_list *l, const char *who, const char *why); /* `who` may be NULL */

/* The part of gRPC's text that says something to people. It points into `text` or is a constant. */
const char *reason_shorten(const char *text);

/* Whether the connection came about and was closed again, or was not to be trusted: gRPC does not say more. */
bool reason_is_unclear(const char *text);

/* Whether it is one that time does not heal: the two sides do not agree on TLS. */
bool reason_is_final(const char *text);

#endif
