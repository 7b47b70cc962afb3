/* The HTTP page: /healthz (200 when ready, else 503), /metrics (Prometheus), / (for people). The only file beside the
 * actors that knows nng. */
#ifndef SERVICE_HTTP_H
#define SERVICE_HTTP_H

#include <etcdworker/worker.h>

typedef struct http http;

/* Serves at "host:port" until http_stop; port 0 takes a free one. `w` must live until then. The texts are copied.
 * EW_ERR_INVALID for a malformed address, EW_ERR_SYSTEM if it cannot be listened at. */
int http_start(http **out, const char *listen, const char *worker, const char *prefix, const ew_worker *w,
               ew_error *err);

/* Whether `listen` has the form of an address. EW_ERR_INVALID names it. */
int http_check(const char *listen, ew_error *err);

/* The port it listens at. */
int http_port(const http *h);

/* When this returns `w` is not looked at any more. NULL is fine. */
void http_stop(http *h);

#endif
