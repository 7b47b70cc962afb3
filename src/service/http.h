/* The HTTP server, with libmicrohttpd: /livez and /healthz (see health.h), /readyz, /metrics (Prometheus), and / (a
 * page for people).
 *
 * One thread serves all connections. The number of connections, their memory and their idle time are limited. The
 * number depends on RLIMIT_NOFILE, so that clients cannot use up the descriptors that the worker needs. At the limit, a
 * new connection replaces the oldest one: a probe is answered even if other clients hold all connections. */
#ifndef SERVICE_HTTP_H
#define SERVICE_HTTP_H

#include <etcdworker/worker.h>

typedef struct http http;

typedef struct http_config {
    const char *listen; /* "host:port", "[IPv6 address]:port", or ":port" for all addresses; port 0 takes a free one */
    const char *worker, *prefix; /* for the pages */
    int64_t liveness_ms;         /* see health.h */
    const ew_worker *source;     /* must live until http_stop */
    uint64_t (*log_dropped)(void);
} http_config;

/* Starts the server; it runs until http_stop. The texts of `config` are copied. EW_ERR_INVALID: the address is
 * malformed or its host is unknown; EW_ERR_SYSTEM: the server cannot listen on it; EW_ERR_NO_MEMORY. */
int http_start(http **out, const http_config *config, ew_error *err);

/* Checks the form of the address `listen`. EW_ERR_INVALID: the error names it. */
int http_check(const char *listen, ew_error *err);

/* Sets the reason why the worker does not run yet, a constant text: the worker is then alive and not ready. NULL: the
 * worker runs. `h` may be NULL. Any thread. */
void http_set_waiting(http *h, const char *why);

/* Returns the server's URL, "http://host:port". */
const char *http_url(const http *h);

/* Stops the server and frees `h`; afterwards `source` is no longer used. NULL is allowed. */
void http_stop(http *h);

#endif
