#include "actors/mailbox_listening.h"

#include "core/log.h"
#include "core/log_limit.h"
#include "core/socket_url.h"
#include "etcd/etcd.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FILE_MODE = 0660, LOOK_EVERY_MS = 1000 };

/* A connection that is open. */
typedef struct connection {
    int id;
    bool heard;
    uint64_t used; /* rises with each connection and each message: the lowest has been idle the longest */
} connection;

struct listening {
    char *worker, *url; /* the URL that is listened at, with its real port; both owned */
    nng_socket socket;
    nng_listener listener;
    nng_tls_config *tls; /* of tls+tcp; otherwise NULL */
    bool requests;
    size_t most_bytes;

    pthread_mutex_t lock; /* all below */
    connection *open;
    size_t open_count, open_capacity, most_open;
    uint64_t used;
    mailbox_connections counts;
    log_limit limit;
    bool seen; /* a connection has come since the probe was sent */

    /* Of listening_look. */
    int64_t look_ms;         /* when nng's statistics are read again */
    uint64_t refused_by_nng; /* what they said last */
    uint64_t failed;         /* and of failures of other kinds */
    int probe;               /* the socket of a probe that is out; -1: none is */
    int64_t replaced_ms;     /* when the listener was replaced or closed; 0: it was not */
    int64_t wait_ms;         /* and how long after that the next one may be */
    bool closed;             /* there is no listener until replaced_ms + wait_ms */
};

int nng_failed(ew_error *err, const char *what, const char *url, int rv) {
    bool bad_url = rv == NNG_EADDRINVAL || rv == NNG_EINVAL || rv == NNG_ENOTSUP;
    int code = rv == NNG_ENOMEM ? EW_ERR_NO_MEMORY : bad_url ? EW_ERR_INVALID : EW_ERR_SYSTEM;
    const char *more = rv == NNG_EADDRINUSE ? ": another socket listens there" : "";
    return ew_fail(err, code, "%s %s: %s%s", what, url, nng_strerror(rv), more);
}

/* ---- connections ---- */

static void log_dropped(listening *l, const char *why) {
    uint64_t left_out;
    pthread_mutex_lock(&l->lock);
    bool write = log_limit_passes(&l->limit, etcd_now_ms(), &left_out);
    pthread_mutex_unlock(&l->lock);
    if (write)
        log_fields(EW_LOG_WARN, l->worker, "sockets", "connection dropped", {"url", l->url, 0}, {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
}

/* A browser sends Origin with each WebSocket that a page opens. Any page could reach a port of the loopback address. */
static bool is_browser(nng_pipe pipe) {
    char *headers;
    if (nng_pipe_get_string(pipe, NNG_OPT_WS_REQUEST_HEADERS, &headers) != 0)
        return false; /* another transport */
    bool found = strncasecmp(headers, "Origin:", 7) == 0 || strcasestr(headers, "\nOrigin:") != NULL;
    nng_strfree(headers);
    return found;
}

static void drop(listening *l, nng_pipe pipe, const char *why) {
    pthread_mutex_lock(&l->lock);
    l->counts.refused++;
    pthread_mutex_unlock(&l->lock);
    nng_pipe_close(pipe);
    log_dropped(l, why);
}

/* Under the lock: forgets the connection that has been idle the longest, and answers it. */
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

/* A client of nng whose connection was closed connects again, and sends again what was not answered. */
static void make_room(listening *l) {
    pthread_mutex_lock(&l->lock);
    bool full = l->open_count >= l->most_open;
    nng_pipe idle = full ? take_idle(l) : (nng_pipe)NNG_PIPE_INITIALIZER;
    pthread_mutex_unlock(&l->lock);
    char why[96];
    snprintf(why, sizeof why, "the limit of %zu connections; this one was idle the longest", l->most_open);
    if (full)
        drop(l, idle, why);
}

/* Without memory it is not remembered, and not counted when it ends. */
static void add_connection(listening *l, int id) {
    make_room(l);
    pthread_mutex_lock(&l->lock);
    l->counts.accepted++;
    if (l->open_count == l->open_capacity) {
        size_t capacity = l->open_capacity > 0 ? 2 * l->open_capacity : 8;
        connection *grown = realloc(l->open, capacity * sizeof *grown);
        if (grown != NULL) {
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
    bool silent = c != NULL && l->requests && !c->heard;
    l->counts.silent += silent;
    if (c != NULL)
        *c = l->open[--l->open_count];
    pthread_mutex_unlock(&l->lock);
    if (!silent)
        return;
    char why[128];
    snprintf(why, sizeof why, "it ended without a request; a message of more than %zu bytes ends one", l->most_bytes);
    log_dropped(l, why);
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
        drop(l, pipe, "it came from a web page (an Origin header)");
    } else if (event == NNG_PIPE_EV_ADD_POST) {
        add_connection(l, id);
    } else if (event == NNG_PIPE_EV_REM_POST) {
        remove_connection(l, id);
    }
}

void listening_heard(listening *l, nng_pipe pipe) {
    pthread_mutex_lock(&l->lock);
    connection *c = find_connection(l, nng_pipe_id(pipe));
    if (c != NULL) {
        c->heard = true;
        c->used = ++l->used;
    }
    pthread_mutex_unlock(&l->lock);
}

void listening_drop(listening *l, nng_pipe pipe, const char *why) {
    pthread_mutex_lock(&l->lock);
    connection *c = find_connection(l, nng_pipe_id(pipe));
    if (c != NULL)
        *c = l->open[--l->open_count];
    pthread_mutex_unlock(&l->lock);
    if (c != NULL)
        drop(l, pipe, why);
}

static bool is_scheme(const char *url, const char *scheme) {
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

/* ---- listening ---- */

/* The port that the kernel chose, if it was left to it. */
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

static int start_listener(listening *l, const char *url, ew_error *err) {
    int rv = nng_listener_create(&l->listener, l->socket, url);
    if (rv != 0)
        return nng_failed(err, "listening at", url, rv);
    rv = nng_listener_set_size(l->listener, NNG_OPT_RECVMAXSZ, l->most_bytes);
    if (rv == 0 && is_scheme(url, "ipc://"))
        rv = nng_listener_set_int(l->listener, NNG_OPT_IPC_PERMISSIONS, FILE_MODE);
    if (rv == 0 && l->tls != NULL)
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
    int status = is_scheme(place->url, "tls+tcp://") ? mailbox_make_tls(&l->tls, place, err) : EW_OK;
    if (status == EW_OK)
        status = start_listener(l, place->url, err);
    if (status == EW_OK && !resolve_url(l, place->url))
        status = ew_fail(err, EW_ERR_NO_MEMORY, "listening at %s", place->url);
    return status;
}

/* ---- what nng alone knows ---- */

static uint64_t stat_of(nng_stat *listener, const char *name) {
    nng_stat *s = nng_stat_find(listener, name);
    return s != NULL ? nng_stat_value(s) : 0;
}

/* nng_stat_find_listener of nng 1.5 answers the first listener of the process. An id is an int in the place of the
 * value. */
static nng_stat *find_listener(nng_stat *all, nng_listener listener) {
    for (nng_stat *s = nng_stat_child(all); s != NULL; s = nng_stat_next(s)) {
        uint64_t value = strcmp(nng_stat_name(s), "listener") == 0 ? stat_of(s, "id") : 0;
        int id;
        memcpy(&id, &value, sizeof id);
        if (id == nng_listener_id(listener))
            return s;
    }
    return NULL;
}

typedef struct failures {
    uint64_t refused; /* handshakes that failed: of TLS, and of nng's protocols. Such a connection raises no event */
    uint64_t others;
} failures;

static bool read_failures(const listening *l, failures *out) {
    nng_stat *all;
    if (nng_stats_get(&all) != 0)
        return false;
    nng_stat *own = find_listener(all, l->listener);
    if (own != NULL)
        *out = (failures){stat_of(own, "auth") + stat_of(own, "proto"), stat_of(own, "other")};
    nng_stats_free(all);
    return own != NULL;
}

static void count_refused(listening *l, uint64_t refused) {
    bool more = refused > l->refused_by_nng;
    pthread_mutex_lock(&l->lock);
    l->counts.refused += refused - l->refused_by_nng;
    l->refused_by_nng = refused;
    pthread_mutex_unlock(&l->lock);
    if (more)
        log_dropped(l, "its handshake failed: no valid client certificate, or not an nng socket of the right kind");
}

/* ---- listeners that are deaf ----
 *
 * A client of ipc that is gone before nng 1.5 has written its greeting (EPIPE) ends the accepting of its listener for
 * good; the kernel goes on to take connections, which nobody serves. Any program that looks whether somebody listens
 * does that, nng itself before it removes a stale socket file. So after a failed connection a probe is sent, and a
 * listener that does not see it is replaced. tcp, TLS and ws report other errors and go on. */

/* Connects, and greets as nng does, with a protocol that no socket has: it is seen, and refused. */
static int send_probe(const char *path) {
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0, 0, 0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
                    send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) != (ssize_t)sizeof greeting)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void end_probe(listening *l) {
    if (l->probe >= 0)
        close(l->probe);
    l->probe = -1;
}

/* nng loses some kilobytes with each listener that is closed while connections wait to be accepted: in a minute no more
 * than one is replaced, if it happens again and again. */
static bool may_replace(const listening *l, int64_t now_ms) {
    return now_ms >= l->replaced_ms + l->wait_ms;
}

/* Its connections break with it; clients of nng connect again and send again. */
static void close_listener(listening *l, int64_t now_ms) {
    enum { QUIET_MS = 600000, FIRST_WAIT_MS = 1000, WAIT_MS_MAX = 60000 };
    bool again = l->replaced_ms != 0 && now_ms < l->replaced_ms + QUIET_MS;
    l->wait_ms = again ? 2 * l->wait_ms : FIRST_WAIT_MS;
    if (l->wait_ms > WAIT_MS_MAX)
        l->wait_ms = WAIT_MS_MAX;
    l->replaced_ms = now_ms;
    nng_listener_close(l->listener);
    l->closed = true;
    l->refused_by_nng = l->failed = 0;
    end_probe(l);
}

/* One that cannot be opened is tried again. */
static void open_listener(listening *l, int64_t now_ms, const char *why) {
    ew_error err = {0};
    l->closed = start_listener(l, l->url, &err) != EW_OK;
    if (!l->closed) {
        log_fields(EW_LOG_WARN, l->worker, "sockets", "listener replaced", {"url", l->url, 0}, {"why", why, 0});
        return;
    }
    l->replaced_ms = now_ms;
    log_fields(EW_LOG_ERROR, l->worker, "sockets", "listener cannot be replaced", {"url", l->url, 0},
               {"detail", err.detail, 0}, {"again_in_s", NULL, (l->wait_ms + 999) / 1000});
}

static bool was_seen(listening *l) {
    pthread_mutex_lock(&l->lock);
    bool seen = l->seen;
    l->seen = false;
    pthread_mutex_unlock(&l->lock);
    return seen;
}

static void check_alive(listening *l, uint64_t failed, int64_t now_ms) {
    if (l->probe < 0 && failed != l->failed) {
        was_seen(l);
        l->failed = failed;
        l->probe = send_probe(socket_url_path(l->url));
    } else if (l->probe >= 0 && was_seen(l)) {
        end_probe(l);
    } else if (l->probe >= 0 && may_replace(l, now_ms)) {
        close_listener(l, now_ms);
        open_listener(l, now_ms, "it had stopped accepting connections");
    }
}

/* ---- descriptors ----
 *
 * A connection whose handshake is not finished raises no event, and over ws nng waits for it for ever. A thousand of
 * them would leave no descriptor for a connection to etcd. So before that happens the listener is closed for a while,
 * and they with it. */

/* A new descriptor is the lowest that is free. */
static bool descriptors_run_out(void) {
    enum { RESERVED_SHARE = 8 };
    struct rlimit files;
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE;
    close(fd);
    return getrlimit(RLIMIT_NOFILE, &files) == 0 && (rlim_t)fd >= files.rlim_cur - files.rlim_cur / RESERVED_SHARE;
}

static void give_descriptors_back(listening *l, int64_t now_ms) {
    close_listener(l, now_ms);
    log_fields(EW_LOG_ERROR, l->worker, "sockets", "listener closed: the process runs out of descriptors",
               {"url", l->url, 0}, {"again_in_s", NULL, (l->wait_ms + 999) / 1000});
}

int64_t listening_look(listening *l, int64_t now_ms) {
    failures f;
    if (l == NULL || is_scheme(l->url, "inproc://"))
        return INT64_MAX;
    if (now_ms < l->look_ms)
        return l->look_ms;
    l->look_ms = now_ms + LOOK_EVERY_MS;
    if (l->closed && may_replace(l, now_ms))
        open_listener(l, now_ms, "it was closed");
    else if (!l->closed && descriptors_run_out())
        give_descriptors_back(l, now_ms);
    if (l->closed || !read_failures(l, &f))
        return l->look_ms;
    count_refused(l, f.refused);
    if (is_scheme(l->url, "ipc://"))
        check_alive(l, f.others, now_ms);
    return l->look_ms;
}

void listening_count(listening *l, mailbox_connections *sum) {
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    sum->accepted += l->counts.accepted;
    sum->refused += l->counts.refused;
    sum->silent += l->counts.silent;
    pthread_mutex_unlock(&l->lock);
}

const char *listening_url(const listening *l) {
    return l != NULL ? l->url : NULL;
}

/* ---- life ---- */

/* Each connection has a descriptor, and up to `most_bytes` of a message that has not arrived as a whole. Two sockets
 * take a quarter of the descriptors together. */
static size_t connection_limit(const char *url, size_t most_bytes) {
    enum { MOST = 1000, FEWEST = 8, SHARE = 8, MOST_BYTES = 1 << 30 };
    struct rlimit files;
    if (is_scheme(url, "inproc://"))
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
    if (l != NULL)
        l->worker = strdup(place->worker != NULL ? place->worker : "");
    if (l == NULL || l->worker == NULL || pthread_mutex_init(&l->lock, NULL) != 0) {
        if (l != NULL)
            free(l->worker);
        free(l);
        return ew_fail(err, EW_ERR_NO_MEMORY, "listening at %s", place->url);
    }
    l->socket = s;
    l->probe = -1;
    l->requests = requests;
    l->most_bytes = most_bytes;
    l->most_open = connection_limit(place->url, most_bytes);
    *out = l; /* also on failure, until the socket is closed: its events name it */
    return listen_at(l, place, err);
}

void listening_free(listening *l) {
    if (l == NULL)
        return;
    end_probe(l);
    pthread_mutex_destroy(&l->lock);
    free(l->open);
    if (l->tls != NULL)
        nng_tls_config_free(l->tls);
    free(l->worker);
    free(l->url);
    free(l);
}
