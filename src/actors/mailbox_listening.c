#include "actors/mailbox_listening_private.h"

#include "core/log.h"
#include "core/log_limit.h"
#include "core/socket_url.h"
#include "etcd/etcd.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILE_MODE = 0660 };

int nng_failed(ew_error *err, const char *what, const char *url, int rv) {
    bool bad_url = rv == NNG_EADDRINVAL || rv == NNG_EINVAL || rv == NNG_ENOTSUP;
    int code = rv == NNG_ENOMEM ? EW_ERR_NO_MEMORY : bad_url ? EW_ERR_INVALID : EW_ERR_SYSTEM;
    const char *more = rv == NNG_EADDRINUSE ? ": another socket listens there" : "";
    return ew_fail(err, code, "%s %s: %s%s", what, url, nng_strerror(rv), more);
}

/* ---- connections ---- */

void listening_log_dropped(listening *l, const char *why) {
    uint64_t left_out;
    pthread_mutex_lock(&l->lock);
    bool write = log_limit_passes(&l->limit, etcd_now_ms(), &left_out);
    pthread_mutex_unlock(&l->lock);
    pthread_mutex_lock(&l->logging);
    if (write)
        log_fields(EW_LOG_WARN, &l->log, "sockets", "connection dropped", {"url", l->url, 0}, {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
    pthread_mutex_unlock(&l->logging);
}

/* Returns whether a web page opened the connection: a browser sends Origin with each WebSocket of a page. Any page
 * could connect to a port of the loopback address. */
static bool is_browser(nng_pipe pipe) {
    char *headers;
    if (nng_pipe_get_string(pipe, NNG_OPT_WS_REQUEST_HEADERS, &headers) != 0)
        return false; /* another transport */
    bool found = strncasecmp(headers, "Origin:", 7) == 0 || strcasestr(headers, "\nOrigin:");
    nng_strfree(headers);
    return found;
}

static void drop(listening *l, nng_pipe pipe, const char *why) {
    pthread_mutex_lock(&l->lock);
    l->counts.refused++;
    pthread_mutex_unlock(&l->lock);
    nng_pipe_close(pipe);
    listening_log_dropped(l, why);
}

/* Under the lock: removes the connection that has been idle the longest from the list, and returns it. */
static nng_pipe take_idle(listening *l) {
    connection *idle = l->open;
    for (connection *c = l->open; c < l->open + l->open_count; c++) {
        if (c->used < idle->used)
            idle = c;
    }
    nng_pipe pipe = {(uint32_t)idle->id};
    *idle = l->open[--l->open_count];
    return pipe;
}

/* Closes the connection that has been idle the longest, if the limit is reached. An nng client connects again, and
 * sends requests without a reply again. */
static void make_space(listening *l) {
    pthread_mutex_lock(&l->lock);
    bool full = l->open_count >= l->most_open;
    nng_pipe idle = full ? take_idle(l) : (nng_pipe)NNG_PIPE_INITIALIZER;
    pthread_mutex_unlock(&l->lock);
    char why[96];
    snprintf(why, sizeof why, "limit of %zu connections reached; this one was idle the longest", l->most_open);
    if (full)
        drop(l, idle, why);
}

/* When out of memory, the connection is not added to the list, and its end is not counted. */
static void add_connection(listening *l, int id) {
    make_space(l);
    pthread_mutex_lock(&l->lock);
    l->counts.accepted++;
    if (l->open_count == l->open_capacity) {
        size_t capacity = l->open_capacity > 0 ? 2 * l->open_capacity : 8;
        connection *grown = realloc(l->open, capacity * sizeof *grown);
        if (grown) {
            l->open = grown;
            l->open_capacity = capacity;
        }
    }
    if (l->open_count < l->open_capacity)
        l->open[l->open_count++] = (connection){.id = id, .used = ++l->used};
    pthread_mutex_unlock(&l->lock);
}

/* Under the lock. */
static connection *find_connection(const listening *l, int id) {
    for (size_t i = 0; i < l->open_count; i++) {
        if (l->open[i].id == id)
            return &l->open[i];
    }
    return NULL;
}

static void remove_connection(listening *l, int id) {
    pthread_mutex_lock(&l->lock);
    connection *c = find_connection(l, id);
    bool silent = c && l->requests && !c->heard;
    l->counts.silent += silent;
    if (c)
        *c = l->open[--l->open_count];
    pthread_mutex_unlock(&l->lock);
    if (!silent)
        return;
    char why[128];
    snprintf(why, sizeof why, "it ended without a request; a message of more than %zu bytes ends a connection",
             l->most_bytes);
    listening_log_dropped(l, why);
}

static void note_seen(listening *l) {
    pthread_mutex_lock(&l->lock);
    l->seen = true;
    pthread_mutex_unlock(&l->lock);
}

static void pipe_event(nng_pipe pipe, nng_pipe_ev event, void *arg) {
    listening *l = arg;
    int id = nng_pipe_id(pipe);
    if (event == NNG_PIPE_EV_ADD_PRE)
        note_seen(l);
    if (event == NNG_PIPE_EV_ADD_PRE && is_browser(pipe)) {
        drop(l, pipe, "opened by a web page (it has an Origin header)");
    } else if (event == NNG_PIPE_EV_ADD_POST) {
        add_connection(l, id);
    } else if (event == NNG_PIPE_EV_REM_POST) {
        remove_connection(l, id);
    }
}

void listening_heard(listening *l, nng_pipe pipe) {
    pthread_mutex_lock(&l->lock);
    connection *c = find_connection(l, nng_pipe_id(pipe));
    if (c) {
        c->heard = true;
        c->used = ++l->used;
    }
    pthread_mutex_unlock(&l->lock);
}

/* Several replies to one client time out at the same time. The second caller must wait until the connection is closed:
 * if a request is received from a connection that is being closed, nng may never close a connection of the process
 * again. (The transport drops a read that begins after the close, and the close waits for that read; mailbox_close.c
 * names the releases and the transports.) */
void listening_drop(listening *l, nng_pipe pipe, const char *why) {
    pthread_mutex_lock(&l->dropping);
    pthread_mutex_lock(&l->lock);
    connection *c = find_connection(l, nng_pipe_id(pipe));
    if (c)
        *c = l->open[--l->open_count];
    pthread_mutex_unlock(&l->lock);
    if (c)
        drop(l, pipe, why);
    pthread_mutex_unlock(&l->dropping);
}

bool listening_is(const char *url, const char *scheme) {
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

/* ---- listening ---- */

/* Stores the URL, with the port that the kernel chose if the port is 0. */
static bool resolve_url(listening *l, const char *url) {
    char resolved[512];
    int port;
    bool has_port = nng_listener_get_int(l->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0 &&
                    socket_url_with_port(url, port, resolved, sizeof resolved);
    l->url = strdup(has_port ? resolved : url);
    return l->url != NULL;
}

static int notify(listening *l) {
    int rv = 0;
    for (int event = NNG_PIPE_EV_ADD_PRE; rv == 0 && event < NNG_PIPE_EV_NUM; event++)
        rv = nng_pipe_notify(l->socket, (nng_pipe_ev)event, pipe_event, l);
    return rv;
}

int listening_start(listening *l, const char *url, ew_error *err) {
    int rv = nng_listener_create(&l->listener, l->socket, url);
    if (rv != 0)
        return nng_failed(err, "listening at", url, rv);
    rv = nng_listener_set_size(l->listener, NNG_OPT_RECVMAXSZ, l->most_bytes);
    if (rv == 0 && listening_is(url, "ipc://"))
        rv = nng_listener_set_int(l->listener, NNG_OPT_IPC_PERMISSIONS, FILE_MODE);
    if (rv == 0 && l->tls)
        rv = nng_listener_set_ptr(l->listener, NNG_OPT_TLS_CONFIG, l->tls);
    if (rv == 0)
        rv = nng_listener_start(l->listener, 0);
    if (rv == 0)
        return EW_OK;
    nng_listener_close(l->listener);
    return nng_failed(err, "listening at", url, rv);
}

static int listen_at(listening *l, const mailbox_place *place, ew_error *err) {
    int rv = notify(l);
    if (rv != 0)
        return nng_failed(err, "listening at", place->url, rv);
    int status = listening_is(place->url, "tls+tcp://") ? mailbox_make_tls(&l->tls, place, err) : EW_OK;
    if (status == EW_OK)
        status = listening_start(l, place->url, err);
    if (status == EW_OK && !resolve_url(l, place->url))
        status = ew_fail(err, EW_ERR_NO_MEMORY, "listening at %s", place->url);
    return status;
}

void listening_count(listening *l, mailbox_connections *sum) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    sum->accepted += l->counts.accepted;
    sum->refused += l->counts.refused;
    sum->silent += l->counts.silent;
    pthread_mutex_unlock(&l->lock);
}

const char *listening_url(const listening *l) {
    return l ? l->url : NULL;
}

/* ---- life ---- */

/* Returns how many connections a socket may have. Each takes a descriptor, and up to `most_bytes` of memory for a
 * message that has not arrived completely. Two sockets use at most a quarter of the descriptors. */
static size_t connection_limit(const char *url, size_t most_bytes) {
    enum { MOST = 1000, FEWEST = 8, SHARE = 8, MOST_BYTES = 1 << 30 };
    struct rlimit files;
    if (listening_is(url, "inproc://"))
        return SIZE_MAX;
    size_t limit = most_bytes > MOST_BYTES / MOST ? MOST_BYTES / most_bytes : MOST;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / SHARE < limit)
        limit = (size_t)files.rlim_cur / SHARE;
    return limit > FEWEST ? limit : FEWEST;
}

int listening_open(listening **out, nng_socket s, const mailbox_place *place, bool requests, size_t most_bytes,
                   ew_error *err) {
    *out = NULL;
    listening *l = calloc(1, sizeof *l);
    if (!l)
        return ew_fail(err, EW_ERR_NO_MEMORY, "listening at %s", place->url);
    if (place->log)
        l->log = *place->log;
    pthread_mutex_init(&l->lock, NULL); /* does not fail on Linux */
    pthread_mutex_init(&l->dropping, NULL);
    pthread_mutex_init(&l->logging, NULL);
    l->socket = s;
    l->probe = -1;
    l->requests = requests;
    l->most_bytes = most_bytes;
    l->most_open = connection_limit(place->url, most_bytes);
    if (!listening_is(place->url, "inproc://"))
        mailbox_is_outward();
    *out = l; /* also on failure: the socket's events use it until the socket is closed */
    return listen_at(l, place, err);
}

void listening_set_log(listening *l, const log_source *from) {
    if (!l)
        return;
    pthread_mutex_lock(&l->logging);
    l->log = from ? *from : (log_source){0};
    pthread_mutex_unlock(&l->logging);
}

void listening_free(listening *l) {
    if (!l)
        return;
    if (l->probe >= 0)
        close(l->probe);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->dropping);
    pthread_mutex_destroy(&l->logging);
    free(l->open);
    if (l->tls)
        nng_tls_config_free(l->tls);
    free(l->url);
    free(l);
}
