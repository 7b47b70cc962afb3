/* The pages of the HTTP server, as text. Each function returns a string that the caller frees, or NULL when out of
 * memory. */
#ifndef SERVICE_PAGES_H
#define SERVICE_PAGES_H

#include "service/health.h"

typedef struct pages_view {
    const char *worker, *prefix;
    ew_worker_stats stats;
    health health;
    uint64_t log_dropped;
    size_t connections;
} pages_view;

/* One line each: "alive" or "stuck", "ready" or "not ready", with the reason. */
char *pages_live(const pages_view *v);
char *pages_ready(const pages_view *v);

/* The Prometheus text format, version 0.0.4. */
char *pages_metrics(const pages_view *v);

/* An HTML page for people. */
char *pages_home(const pages_view *v);

#endif
