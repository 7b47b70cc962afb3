/* Details of "permission denied" errors: etcd's text does not name the keys, so they are taken from the request. */
#ifndef ETCD_DENIED_H
#define ETCD_DENIED_H

#include "etcd/etcd.h"

/* Writes etcd's text and the keys and ranges of the request to `out`: `etcdserver: permission denied: put "/a"`. For a
 * request without keys, writes the method's name instead of keys. */
void denied_write(char *out, size_t size, const char *text, etcd_method method, ew_slice request);

/* The same for a watch on `key`, up to `end` if that is not empty. */
void denied_write_watch(char *out, size_t size, const char *text, ew_slice key, ew_slice end);

/* Writes both keys of a range: `"/a", "/b"`. */
void denied_write_range(char *out, size_t size, ew_slice key, ew_slice end);

#endif
