/* "permission denied" does not say of what: the request does. */
#ifndef ETCD_DENIED_H
#define ETCD_DENIED_H

#include "etcd/etcd.h"

/* Writes etcd's text and the keys and ranges that the request is about into `out`: `etcdserver: permission denied: put
 * "/a"`. Of a request without keys it is the method's name. */
void denied_write(char *out, size_t size, const char *text, etcd_method method, ew_slice request);

/* The same of a watch on `key`, up to `end` if that is not empty. */
void denied_write_watch(char *out, size_t size, const char *text, ew_slice key, ew_slice end);

/* Writes both keys of a range: `"/a", "/b"`. */
void denied_write_range(char *out, size_t size, ew_slice key, ew_slice end);

#endif
