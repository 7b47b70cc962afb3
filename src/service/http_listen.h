/* The listening socket of the HTTP server. */
#ifndef SERVICE_HTTP_LISTEN_H
#define SERVICE_HTTP_LISTEN_H

#include <etcdworker/error.h>

/* Listens at `address` (see http.h) and writes "http://host:port", with the port that it has, to `url`. A name is
 * looked up, and the first of its addresses that can be listened at is taken. EW_ERR_SYSTEM or EW_ERR_INVALID. */
int http_listen(int *fd, const char *address, char *url, size_t size, ew_error *err);

#endif
