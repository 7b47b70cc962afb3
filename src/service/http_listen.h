/* The listening socket of the HTTP server. */
#ifndef SERVICE_HTTP_LISTEN_H
#define SERVICE_HTTP_LISTEN_H

#include <etcdworker/error.h>

/* Listens on `address` (see http.h) and writes "http://host:port", with the actual port, to `url`. A host name is
 * resolved, and the first of its addresses that can be used is taken. EW_ERR_SYSTEM, EW_ERR_INVALID or
 * EW_ERR_NO_MEMORY. */
int http_listen(int *fd, const char *address, char *url, size_t size, ew_error *err);

#endif
