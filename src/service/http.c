#include "service/http.h"
#include "service/health.h"
#include "service/http_listen.h"
#include "service/pages.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MOST_CONNECTIONS = 64,
    FEWEST_CONNECTIONS = 4,
    CLOSING_CONNECTIONS = 8,       /* in addition, for connections that are being closed */
    CONNECTION_SHARE = 4,          /* connections take at most a quarter of the process's descriptors */
    CONNECTION_MEMORY = 16 * 1024, /* for the request line and the headers */
    IDLE_S = 10,
};

/* A slot for an open connection; fd -1: free. */
typedef struct guest {
    int fd;
    uint64_t number; /* in the order of arrival */
    bool leaving;    /* shut down by the server, not yet closed */
} guest;

struct http {
    char *worker, *prefix;
    int64_t liveness_ms;
    const ew_worker *source;
    uint64_t (*log_dropped)(void);
    _Atomic(const char *) waiting;
    struct MHD_Daemon *server;
    char url[300];

    /* Used by the server's thread only. */
    size_t limit, open; /* do not count connections that are leaving */
    uint64_t arrivals;
    guest guests[MOST_CONNECTIONS + CLOSING_CONNECTIONS];
};

/* ---- connections ---- */

/* Returns the limit of connections: a quarter of the descriptors, since a worker needs about 40. */
static size_t connection_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / CONNECTION_SHARE >= MOST_CONNECTIONS)
        return MOST_CONNECTIONS;
    size_t share = (size_t)files.rlim_cur / CONNECTION_SHARE;
    return share > FEWEST_CONNECTIONS ? share : FEWEST_CONNECTIONS;
}

/* Shuts down the oldest connection. libmicrohttpd notices that in its next iteration and closes the connection. */
static void close_oldest(http *h) {
    guest *oldest = NULL;
    for (guest *g = h->guests; g < h->guests + sizeof h->guests / sizeof h->guests[0]; g++) {
        if (g->fd >= 0 && !g->leaving && (!oldest || g->number < oldest->number))
            oldest = g;
    }
    if (!oldest)
        return;
    shutdown(oldest->fd, SHUT_RDWR);
    oldest->leaving = true;
    h->open--;
}

static void arrive(http *h, struct MHD_Connection *connection, void **context) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    guest *g = h->guests, *end = g + sizeof h->guests / sizeof h->guests[0];
    while (g < end && g->fd >= 0)
        g++;
    if (!info || g == end) /* libmicrohttpd's own limit is the number of slots */
        return;
    if (h->open >= h->limit)
        close_oldest(h);
    *g = (guest){info->connect_fd, h->arrivals++, false};
    h->open++;
    *context = g;
}

static void on_connection(void *self, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    http *h = self;
    guest *g = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        arrive(h, connection, context);
    } else if (g) {
        h->open -= !g->leaving;
        g->fd = -1;
    }
}

/* ---- responses ---- */

typedef enum MHD_Result result;

static const char plain[] = "text/plain; charset=utf-8";

/* Queues a response. Takes ownership of `text`; NULL means that there was no memory for it. */
static result answer(struct MHD_Connection *c, unsigned status, const char *type, char *text) {
    static char sorry[] = "out of memory\n";
    if (!text) {
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        type = plain;
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text ? text : sorry), text ? text : sorry,
                                                             text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r) {
        free(text);
        return MHD_NO; /* closes the connection */
    }
    result fine = MHD_add_response_header(r, "Content-Type", type);
    if (fine == MHD_YES)
        fine = MHD_add_response_header(r, "Cache-Control", "no-store");
    if (fine == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        fine = MHD_add_response_header(r, "Allow", "GET, HEAD");
    if (fine == MHD_YES)
        fine = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return fine;
}

static void look(http *h, pages_view *v) {
    *v = (pages_view){.worker = h->worker, .prefix = h->prefix, .stats.size = sizeof v->stats};
    if (ew_worker_get_stats(h->source, &v->stats) != EW_OK)
        v->stats = (ew_worker_stats){0};
    v->log_dropped = h->log_dropped ? h->log_dropped() : 0;
    v->connections = h->open;
    health_look(&v->health, &v->stats, atomic_load(&h->waiting), h->liveness_ms);
}

static result on_request(void *self, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                         const char *upload, size_t *upload_size, void **context) {
    (void)version, (void)upload;
    http *h = self;
    pages_view v;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, plain, strdup("method not allowed; use GET or HEAD\n"));
    /* A response in the first call would close the connection, since a body may follow. A body is read and dropped. */
    if (!*context || *upload_size > 0) {
        *context = h;
        *upload_size = 0;
        return MHD_YES;
    }
    look(h, &v);
    if (strcmp(url, "/livez") == 0 || strcmp(url, "/healthz") == 0)
        return answer(c, v.health.alive ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, plain, pages_live(&v));
    if (strcmp(url, "/readyz") == 0)
        return answer(c, v.health.ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, plain, pages_ready(&v));
    if (strcmp(url, "/metrics") == 0)
        return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", pages_metrics(&v));
    if (strcmp(url, "/") == 0)
        return answer(c, MHD_HTTP_OK, "text/html; charset=utf-8", pages_home(&v));
    return answer(c, MHD_HTTP_NOT_FOUND, plain, strdup("not found; use /, /livez, /readyz or /metrics\n"));
}

/* ---- start and end ---- */

/* Starts libmicrohttpd on the listening socket, which it takes over. Returns 0 or an errno. If it fails, it may or may
 * not have closed the descriptor. */
static int serve(http *h, int fd) {
    struct stat before, after;
    size_t most = h->limit + CLOSING_CONNECTIONS;
    bool known = fstat(fd, &before) == 0;
    h->server = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET,
                                 fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)most, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
    if (h->server)
        return 0;
    int problem = errno;
    if (known && fstat(fd, &after) == 0 && after.st_ino == before.st_ino && after.st_dev == before.st_dev)
        close(fd);
    return problem != 0 ? problem : EIO;
}

static http *new_http(const http_config *config) {
    http *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    for (size_t i = 0; i < sizeof h->guests / sizeof h->guests[0]; i++)
        h->guests[i].fd = -1;
    h->limit = connection_limit();
    h->liveness_ms = config->liveness_ms;
    h->source = config->source;
    h->log_dropped = config->log_dropped;
    h->worker = strdup(config->worker);
    h->prefix = strdup(config->prefix);
    if (h->worker && h->prefix)
        return h;
    http_stop(h);
    return NULL;
}

int http_start(http **out, const http_config *config, ew_error *err) {
    *out = NULL;
    int status = http_check(config->listen, err);
    if (status != EW_OK)
        return status;
    http *h = new_http(config);
    if (!h)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    int fd;
    status = http_listen(&fd, config->listen, h->url, sizeof h->url, err);
    int problem = status == EW_OK ? serve(h, fd) : 0;
    if (problem != 0)
        status = ew_fail(err, problem == ENOMEM ? EW_ERR_NO_MEMORY : EW_ERR_SYSTEM,
                         "cannot start the HTTP server on %.100s: %s", config->listen, strerror(problem));
    if (status == EW_OK)
        *out = h;
    else
        http_stop(h);
    return status;
}

void http_set_waiting(http *h, const char *why) {
    if (h)
        atomic_store(&h->waiting, why);
}

const char *http_url(const http *h) {
    return h->url;
}

void http_stop(http *h) {
    if (!h)
        return;
    if (h->server)
        MHD_stop_daemon(h->server);
    free(h->worker);
    free(h->prefix);
    free(h);
}
