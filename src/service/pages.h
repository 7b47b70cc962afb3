/* What the HTTP page shows, as text: each answers a string to be freed, or NULL when out of memory. */
#ifndef SERVICE_PAGES_H
#define SERVICE_PAGES_H

#include <etcdworker/worker.h>

/* The Prometheus text format, version 0.0.4. */
char *pages_metrics(const char *worker, const ew_worker_stats *s);

/* For people. */
char *pages_home(const char *worker, const char *prefix, const ew_worker_stats *s);

#endif
