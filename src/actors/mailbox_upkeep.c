/* Checks the listeners for other programs once a second, and closes or replaces them if necessary. */
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

/* ---- nng's statistics ---- */

static uint64_t stat_of(nng_stat *listener, const char *name) {
    nng_stat *s = nng_stat_find(listener, name);
    return s ? nng_stat_value(s) : 0;
}

/* Finds the statistics of a listener. nng_stat_find_listener of nng 1.5 is wrong: it returns the first listener of the
 * process. The value of an "id" statistic holds an int. */
static nng_stat *find_listener(nng_stat *all, nng_listener listener) {
    for (nng_stat *s = nng_stat_child(all); s; s = nng_stat_next(s)) {
        uint64_t value = strcmp(nng_stat_name(s), "listener") == 0 ? stat_of(s, "id") : 0;
        int id;
        memcpy(&id, &value, sizeof id);
        if (id == nng_listener_id(listener))
            return s;
    }
    return NULL;
}

typedef struct failures {
    uint64_t refused; /* failed handshakes of TLS and of nng's protocols. Such connections raise no event */
    uint64_t others;
} failures;

static bool read_failures(const listening *l, failures *out) {
    nng_stat *all;
    if (nng_stats_get(&all) != 0)
        return false;
    nng_stat *own = find_listener(all, l->listener);
    if (own)
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
            l, "handshake failed: no valid client certificate, or not an nng socket of the right protocol");
}

/* ---- listeners that have stopped accepting ----
 *
 * If an ipc client disconnects before nng 1.5 has written its greeting (EPIPE), the listener stops accepting for ever.
 * The kernel still accepts connections, but no thread serves them. Any program that checks whether a socket listens
 * causes this; nng itself does so before it removes a stale socket file. So after a failed connection this sends a
 * liveness probe, and replaces a listener that does not accept it. With tcp, TLS and ws a listener continues after such
 * errors. */

/* Sends a liveness probe: connects and sends nng's greeting with a protocol that no socket has. A working listener
 * accepts it, and refuses the protocol. Returns the socket, or -1. */
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

/* Limits how often the listener is replaced, to once a minute if it happens repeatedly: nng leaks some kilobytes with
 * each listener that is closed while connections wait to be accepted. */
static bool may_replace(const listening *l, int64_t now_ms) {
    return now_ms >= l->replaced_ms + l->wait_ms;
}

/* Closes the listener and with it its connections. nng clients connect again and send their requests again. */
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

/* Opens the listener again. After a failure the next attempt follows at replaced_ms + wait_ms. */
static void open_listener(listening *l, int64_t now_ms, const char *why) {
    ew_error err = {0};
    l->closed = listening_start(l, l->url, &err) != EW_OK;
    if (!l->closed) {
        log_fields(EW_LOG_WARN, &l->log, "sockets", "listener replaced", {"url", l->url, 0}, {"why", why, 0});
        return;
    }
    l->replaced_ms = now_ms;
    log_fields(EW_LOG_ERROR, &l->log, "sockets", "cannot replace the listener", {"url", l->url, 0},
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
        open_listener(l, now_ms, "it did not accept connections any more");
    }
}

/* A cleanup of temporary files may have removed the socket file, so that no client can connect. */
static bool file_is_gone(const listening *l) {
    struct stat info;
    return listening_is(l->url, "ipc://") && lstat(socket_url_path(l->url), &info) != 0 && errno == ENOENT;
}

/* ---- descriptors ----
 *
 * A connection raises no event before its handshake is finished, and with ws nng waits for the handshake without limit.
 * A thousand such connections would leave no descriptor for connections to etcd. So before that happens, the listener
 * is closed for a while, which closes these connections as well. */

/* A new descriptor gets the lowest free number, so it shows how many are in use. */
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
    log_fields(EW_LOG_ERROR, &l->log, "sockets", "listener closed: the process runs out of descriptors",
               {"url", l->url, 0}, {"again_in_s", NULL, (l->wait_ms + 999) / 1000});
}

/* Closes, opens or replaces the listener if necessary. False: it is closed. */
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
    if (!l || listening_is(l->url, "inproc://"))
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
