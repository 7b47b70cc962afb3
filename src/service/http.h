/* The HTTP server, by libmicrohttpd: /livez and /healthz (see health.h), /readyz, /metrics (Prometheus), / (for
 * people).
 *
 * One thread serves all connections. Connections, their memory and the time they may be idle are bounded; the number of
 * connections follows from RLIMIT_NOFILE, so that clients cannot take the descriptors that the worker needs. When there
 * are too many, the oldest is closed for the newest: a probe is answered whatever others hold open. */
#ifndef SERVICE_HTTP_H
#define SERVICE_HTTP_H

#include <etcdworker/worker.h>

typedef struct http http;

typedef struct http_config {
    const char *listen; /* "host:port", "[IPv6 address]:port", or ":port" for all addresses; port 0 takes a free one */
    const char *worker, *prefix; /* shown */
    int64_t liveness_ms;         /* see health.h */
    const ew_worker *source;     /* must live until http_stop */
    uint64_t (*log_dropped)(void);
} http_config;

/* Serves until http_stop. The texts of `config` are copied. EW_ERR_INVALID for a malformed address, EW_ERR_SYSTEM if it
 * cannot be listened at. */
int http_start(http **out, const http_config *config, ew_error *err);

/* Whether `listen` has the form of an address. EW_ERR_INVALID names it. */
int http_check(const char *listen, ew_error *err);

/* Why the worker does not run yet, a constant text: it is then alive, and not ready. NULL: it runs. NULL `h` is fine.
 */
void http_set_waiting(http *h, const char *why);

/* Where it is reached: "http://host:port". */
const char *http_url(const http *h);

/* When this returns the worker is not looked at any more. NULL is fine. */
void http_stop(http *h);

#endif
