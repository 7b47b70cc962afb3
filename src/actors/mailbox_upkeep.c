/* What keeps a listener for other programs alive: it is looked at each second, and closed or replaced where it has to
 * be. */
#include "actors/mailbox_listening_private.h"

#include "core/log.h"
#include "core/socket_url.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1000 };

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
        listening_log_dropped(
            l, "its handshake failed: no valid client certificate, or not an nng socket of the right kind");
}

/* ---- listeners that have stopped accepting ----
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
    l->closed = listening_start(l, l->url, &err) != EW_OK;
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

/* A cleaner of temporary files may have removed it. Then no client can connect. */
static bool file_is_gone(const listening *l) {
    struct stat info;
    return listening_is(l->url, "ipc://") && lstat(socket_url_path(l->url), &info) != 0 && errno == ENOENT;
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

/* Closes or replaces the listener where it has to be. False: it is closed. */
static bool keep_listener(listening *l, int64_t now_ms) {
    if (l->closed && may_replace(l, now_ms)) {
        open_listener(l, now_ms, "it was closed");
    } else if (!l->closed && descriptors_run_out()) {
        give_descriptors_back(l, now_ms);
    } else if (!l->closed && file_is_gone(l) && may_replace(l, now_ms)) {
        close_listener(l, now_ms);
        open_listener(l, now_ms, "its socket file was removed");
    }
    return !l->closed;
}

int64_t listening_look(listening *l, int64_t now_ms) {
    failures f;
    if (l == NULL || listening_is(l->url, "inproc://"))
        return INT64_MAX;
    if (now_ms < l->look_ms)
        return l->look_ms;
    l->look_ms = now_ms + LOOK_EVERY_MS;
    if (!keep_listener(l, now_ms) || !read_failures(l, &f))
        return l->look_ms;
    count_refused(l, f.refused);
    if (listening_is(l->url, "ipc://"))
        check_alive(l, f.others, now_ms);
    return l->look_ms;
}
