#include "service/http.h"
#include "service/pages.h"

#include <arpa/inet.h>
#include <nng/nng.h>
#include <nng/supplemental/http/http.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* nng calls the handlers on threads of its own, and may still be in one when the server is told to stop. So what they
 * look at is counted, and `worker` is looked at under the lock only. */
struct http {
    pthread_mutex_t lock;
    const ew_worker *worker; /* NULL: stopped */
    int users;               /* handlers, and whoever started it */
    char *name, *prefix;
    nng_http_server *server;
    int port;
};

static void drop(void *arg) {
    http *h = arg;
    pthread_mutex_lock(&h->lock);
    int left = --h->users;
    pthread_mutex_unlock(&h->lock);
    if (left > 0)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h->name);
    free(h->prefix);
    free(h);
}

static bool read_stats(http *h, ew_worker_stats *s) {
    *s = (ew_worker_stats){.size = sizeof *s};
    pthread_mutex_lock(&h->lock);
    bool there = h->worker && ew_worker_get_stats(h->worker, s) == EW_OK;
    pthread_mutex_unlock(&h->lock);
    return there;
}

/* ---- answers ---- */

static void answer(nng_aio *aio, uint16_t status, const char *type, const char *text) {
    nng_http_res *res = NULL;
    int code = nng_http_res_alloc(&res);
    if (code == 0 && (code = nng_http_res_set_status(res, status)) == 0 &&
        (code = nng_http_res_set_header(res, "Content-Type", type)) == 0 &&
        (code = nng_http_res_set_header(res, "Cache-Control", "no-store")) == 0 &&
        (code = nng_http_res_copy_data(res, text, strlen(text))) == 0) {
        nng_aio_set_output(aio, 0, res);
    } else if (res) {
        nng_http_res_free(res);
    }
    nng_aio_finish(aio, code);
}

static http *owner_of(nng_aio *aio) {
    return nng_http_handler_get_data(nng_aio_get_input(aio, 1));
}

static void on_health(nng_aio *aio) {
    ew_worker_stats s;
    bool ready = read_stats(owner_of(aio), &s) && s.ready;
    answer(aio, ready ? 200 : 503, "text/plain; charset=utf-8", ready ? "ready\n" : "not ready\n");
}

static void answer_page(nng_aio *aio, const char *type, char *text) {
    if (text)
        answer(aio, 200, type, text);
    else
        answer(aio, 500, "text/plain; charset=utf-8", "out of memory\n");
    free(text);
}

static void on_metrics(nng_aio *aio) {
    ew_worker_stats s;
    http *h = owner_of(aio);
    read_stats(h, &s);
    answer_page(aio, "text/plain; version=0.0.4; charset=utf-8", pages_metrics(h->name, &s));
}

static void on_home(nng_aio *aio) {
    ew_worker_stats s;
    http *h = owner_of(aio);
    read_stats(h, &s);
    answer_page(aio, "text/html; charset=utf-8", pages_home(h->name, h->prefix, &s));
}

/* ---- the server ---- */

static int add_page(http *h, const char *path, void (*fn)(nng_aio *)) {
    nng_http_handler *handler;
    int code = nng_http_handler_alloc(&handler, path, fn);
    if (code != 0)
        return code;
    if ((code = nng_http_handler_set_data(handler, h, drop)) != 0) {
        nng_http_handler_free(handler);
        return code;
    }
    pthread_mutex_lock(&h->lock);
    h->users++;
    pthread_mutex_unlock(&h->lock);
    if ((code = nng_http_server_add_handler(h->server, handler)) != 0)
        nng_http_handler_free(handler);
    return code;
}

static int port_of(nng_http_server *server) {
    nng_sockaddr address;
    if (nng_http_server_get_addr(server, &address) != 0)
        return 0;
    if (address.s_family == NNG_AF_INET)
        return ntohs(address.s_in.sa_port);
    return address.s_family == NNG_AF_INET6 ? ntohs(address.s_in6.sa_port) : 0;
}

static int serve(http *h, const nng_url *url) {
    int code = nng_http_server_hold(&h->server, url);
    if (code == 0)
        code = add_page(h, "/healthz", on_health);
    if (code == 0)
        code = add_page(h, "/metrics", on_metrics);
    if (code == 0)
        code = add_page(h, "/", on_home);
    if (code == 0)
        code = nng_http_server_start(h->server);
    if (code == 0)
        h->port = port_of(h->server);
    return code;
}

static http *new_http(const char *worker, const char *prefix, const ew_worker *w) {
    http *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    h->worker = w;
    h->users = 1;
    h->name = strdup(worker);
    h->prefix = strdup(prefix);
    if (h->name && h->prefix)
        return h;
    drop(h);
    return NULL;
}

int http_check(const char *listen, ew_error *err) {
    const char *colon = strrchr(listen, ':');
    if (!colon || colon == listen || strlen(colon + 1) == 0 || strlen(colon + 1) != strspn(colon + 1, "0123456789") ||
        strlen(listen) > 250 || strchr(listen, '/'))
        return ew_fail(err, EW_ERR_INVALID, "option http_listen: '%.100s' is not host:port", listen);
    return EW_OK;
}

int http_start(http **out, const char *listen, const char *worker, const char *prefix, const ew_worker *w,
               ew_error *err) {
    *out = NULL;
    char text[280];
    int status = http_check(listen, err);
    if (status != EW_OK)
        return status;
    snprintf(text, sizeof text, "http://%s/", listen);
    nng_url *url;
    int code = nng_url_parse(&url, text);
    if (code == NNG_ENOMEM)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    if (code != 0)
        return ew_fail(err, EW_ERR_INVALID, "option http_listen: '%.100s': %s", listen, nng_strerror(code));
    http *h = new_http(worker, prefix, w);
    code = h ? serve(h, url) : NNG_ENOMEM;
    nng_url_free(url);
    if (code == 0) {
        *out = h;
        return EW_OK;
    }
    http_stop(h);
    return code == NNG_ENOMEM ? ew_fail(err, EW_ERR_NO_MEMORY, "out of memory")
                              : ew_fail(err, EW_ERR_SYSTEM, "cannot serve at %.100s: %s", listen, nng_strerror(code));
}

int http_port(const http *h) {
    return h->port;
}

void http_stop(http *h) {
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->worker = NULL;
    pthread_mutex_unlock(&h->lock);
    if (h->server) {
        nng_http_server_stop(h->server);
        nng_http_server_release(h->server);
    }
    drop(h);
}
