#include "actors/mailbox_listening.h"

#include "core/log.h"
#include "core/log_limit.h"
#include "core/socket_url.h"
#include "etcd/etcd.h"
#include "etcd/file.h"
#include "etcd/pem.h"

#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { FILE_MODE = 0660, LOOK_EVERY_MS = 1000 };

/* A connection that is open. */
typedef struct connection {
    int id;
    bool heard;
} connection;

struct listening {
    char *worker, *url; /* the URL that is listened at, with its real port; both owned */
    nng_listener listener;
    bool requests;
    size_t most_bytes;

    pthread_mutex_t lock; /* all below */
    connection *open;
    size_t open_count, open_capacity;
    mailbox_connections counts;
    uint64_t refused_by_nng; /* what nng's statistics said last */
    int64_t look_ms;         /* when they are read again */
    log_limit limit;
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

/* Without memory it is not remembered, and not counted when it ends. */
static void add_connection(listening *l, int id) {
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
        l->open[l->open_count++] = (connection){.id = id};
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

static void pipe_event(nng_pipe pipe, nng_pipe_ev event, void *arg) {
    listening *l = arg;
    int id = nng_pipe_id(pipe);
    if (event == NNG_PIPE_EV_ADD_PRE && is_browser(pipe)) {
        pthread_mutex_lock(&l->lock);
        l->counts.refused++;
        pthread_mutex_unlock(&l->lock);
        nng_pipe_close(pipe);
        log_dropped(l, "it came from a web page (an Origin header)");
    } else if (event == NNG_PIPE_EV_ADD_POST) {
        add_connection(l, id);
    } else if (event == NNG_PIPE_EV_REM_POST) {
        remove_connection(l, id);
    }
}

void listening_heard(listening *l, nng_pipe pipe) {
    pthread_mutex_lock(&l->lock);
    connection *c = find_connection(l, nng_pipe_id(pipe));
    if (c != NULL)
        c->heard = true;
    pthread_mutex_unlock(&l->lock);
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

/* Handshakes that failed: of TLS (`auth`), and of nng's protocols (`proto`). Such a connection raises no event. */
static uint64_t count_refused(const listening *l) {
    nng_stat *all;
    if (nng_stats_get(&all) != 0)
        return l->refused_by_nng;
    nng_stat *own = find_listener(all, l->listener);
    uint64_t n = own != NULL ? stat_of(own, "auth") + stat_of(own, "proto") : l->refused_by_nng;
    nng_stats_free(all);
    return n;
}

void listening_look(listening *l, int64_t now_ms) {
    if (l == NULL || now_ms < l->look_ms)
        return;
    l->look_ms = now_ms + LOOK_EVERY_MS;
    uint64_t n = count_refused(l);
    bool more = n > l->refused_by_nng;
    pthread_mutex_lock(&l->lock);
    l->counts.refused += n - l->refused_by_nng;
    l->refused_by_nng = n;
    pthread_mutex_unlock(&l->lock);
    if (more)
        log_dropped(l, "its handshake failed: no valid client certificate, or not an nng socket of the right kind");
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

/* ---- listening ---- */

/* TLS 1.2 and newer; where the engine has no 1.3, 1.2 alone. */
static int set_versions(nng_tls_config *tls) {
    int rv = nng_tls_config_version(tls, NNG_TLS_1_2, NNG_TLS_1_3);
    return rv == 0 ? 0 : nng_tls_config_version(tls, NNG_TLS_1_2, NNG_TLS_1_2);
}

/* Texts of files that are checked already: what nng refuses now is a kind of key that its TLS does not know. */
static int use_texts(nng_tls_config *tls, const char *cert, const char *key, const char *ca, ew_error *err) {
    int rv = nng_tls_config_own_cert(tls, cert, key, NULL);
    if (rv != 0)
        return nng_failed(err, "TLS:", "listen_cert_file, listen_key_file", rv);
    rv = nng_tls_config_ca_chain(tls, ca, NULL);
    return rv == 0 ? EW_OK : nng_failed(err, "TLS:", "listen_ca_file", rv);
}

static int use_files(nng_tls_config *tls, const mailbox_place *place, ew_error *err) {
    const pem_file cert_file = {"listen_cert_file", place->cert_file}, key_file = {"listen_key_file", place->key_file},
                   ca_file = {"listen_ca_file", place->ca_file};
    char *cert = NULL, *key = NULL, *ca = NULL;
    int status = file_read(&cert, cert_file.option, cert_file.path, err);
    if (status == EW_OK)
        status = file_read(&key, key_file.option, key_file.path, err);
    if (status == EW_OK)
        status = file_read(&ca, ca_file.option, ca_file.path, err);
    if (status == EW_OK)
        status = pem_check_pair(cert, &cert_file, key, &key_file, err);
    if (status == EW_OK)
        status = pem_check_authorities(ca, &ca_file, err);
    if (status == EW_OK)
        status = use_texts(tls, cert, key, ca, err);
    file_free(cert);
    file_free(key);
    file_free(ca);
    return status;
}

static int make_tls(nng_tls_config **out, const mailbox_place *place, ew_error *err) {
    int rv = nng_tls_config_alloc(out, NNG_TLS_MODE_SERVER);
    if (rv == NNG_ENOTSUP)
        return ew_fail(err, EW_ERR_INVALID, "%s: this libnng was built without TLS", place->url);
    if (rv != 0)
        return nng_failed(err, "TLS for", place->url, rv);
    int status = use_files(*out, place, err);
    if (status == EW_OK &&
        ((rv = nng_tls_config_auth_mode(*out, NNG_TLS_AUTH_MODE_REQUIRED)) != 0 || (rv = set_versions(*out)) != 0))
        status = nng_failed(err, "TLS for", place->url, rv);
    if (status != EW_OK)
        nng_tls_config_free(*out);
    return status;
}

int mailbox_check_tls(const mailbox_place *place, ew_error *err) {
    nng_tls_config *tls;
    int status = make_tls(&tls, place, err);
    if (status == EW_OK)
        nng_tls_config_free(tls);
    return status;
}

static int set_tls(listening *l, const mailbox_place *place, ew_error *err) {
    nng_tls_config *tls;
    int status = make_tls(&tls, place, err);
    if (status != EW_OK)
        return status;
    int rv = nng_listener_set_ptr(l->listener, NNG_OPT_TLS_CONFIG, tls);
    nng_tls_config_free(tls); /* the listener has its own reference */
    return rv == 0 ? EW_OK : nng_failed(err, "TLS for", place->url, rv);
}

/* The port that the kernel chose, if it was left to it. */
static bool resolve_url(listening *l, const char *url) {
    char resolved[512];
    int port;
    bool has_port = nng_listener_get_int(l->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0 &&
                    socket_url_with_port(url, port, resolved, sizeof resolved);
    l->url = strdup(has_port ? resolved : url);
    return l->url != NULL;
}

static int notify(listening *l, nng_socket s) {
    int rv = 0;
    for (int event = NNG_PIPE_EV_ADD_PRE; rv == 0 && event < NNG_PIPE_EV_NUM; event++)
        rv = nng_pipe_notify(s, (nng_pipe_ev)event, pipe_event, l);
    return rv;
}

static int listen_at(listening *l, nng_socket s, const mailbox_place *place, ew_error *err) {
    int rv = notify(l, s);
    if (rv == 0)
        rv = nng_listener_create(&l->listener, s, place->url);
    if (rv == 0)
        rv = nng_listener_set_size(l->listener, NNG_OPT_RECVMAXSZ, l->most_bytes);
    if (rv == 0 && strncmp(place->url, "ipc://", 6) == 0)
        rv = nng_listener_set_int(l->listener, NNG_OPT_IPC_PERMISSIONS, FILE_MODE);
    if (rv != 0)
        return nng_failed(err, "listening at", place->url, rv);
    int status = strncmp(place->url, "tls+tcp://", 10) == 0 ? set_tls(l, place, err) : EW_OK;
    if (status != EW_OK)
        return status;
    if ((rv = nng_listener_start(l->listener, 0)) != 0)
        return nng_failed(err, "listening at", place->url, rv);
    return resolve_url(l, place->url) ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "listening at %s", place->url);
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
    l->requests = requests;
    l->most_bytes = most_bytes;
    *out = l; /* also on failure, until the socket is closed: its events name it */
    return listen_at(l, s, place, err);
}

void listening_free(listening *l) {
    if (l == NULL)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l->open);
    free(l->worker);
    free(l->url);
    free(l);
}
