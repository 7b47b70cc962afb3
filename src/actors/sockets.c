#include "actors/sockets.h"

#include "actors/mailbox.h"
#include "core/options_internal.h"
#include "core/socket_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- socket files ---- */

static int refuse(const char *option, const char *url, const char *why, ew_error *err) {
    return ew_fail(err, EW_ERR_INVALID, "%s = \"%.100s\": %s", option, url, why);
}

/* Another user who can write the directory, or one above it, could replace the socket by his own. The group may write
 * the directory, since it may also connect. */
static int check_directory(const char *option, const char *url, const char *directory, ew_error *err) {
    struct stat info;
    if (stat(directory, &info) != 0)
        return ew_fail(err, EW_ERR_INVALID, "%s = \"%.80s\": the directory of the socket: %s", option, url,
                       strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return refuse(option, url, "the directory of the socket is not a directory", err);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return ew_fail(err, EW_ERR_INVALID,
                       "%s = \"%.80s\": the directory %.80s must belong to this process's user or to root", option, url,
                       directory);
    if ((info.st_mode & S_IWOTH) != 0 && (info.st_mode & S_ISVTX) == 0)
        return ew_fail(err, EW_ERR_INVALID,
                       "%s = \"%.80s\": every user can write the directory %.80s, and it is not sticky", option, url,
                       directory);
    return EW_OK;
}

/* Checks `directory` and those above it. Overwrites the text. */
static int check_directories(const char *option, const char *url, char *directory, ew_error *err) {
    int status = check_directory(option, url, directory, err);
    while (status == EW_OK && directory[1] != '\0') {
        char *slash = strrchr(directory, '/');
        slash[slash == directory] = '\0'; /* the root keeps its slash */
        status = check_directory(option, url, directory, err);
    }
    return status;
}

/* nng removes any file at which no socket listens as a stale socket, so a file that is not a socket is refused here. */
static int check_file(const char *option, const char *url, ew_error *err) {
    struct stat info;
    if (lstat(socket_url_path(url), &info) == 0 && !S_ISSOCK(info.st_mode))
        return refuse(option, url, "the file exists and is not a socket", err);
    return EW_OK;
}

/* Resolves symbolic links first: the permissions of the real directories matter. */
static int check_socket_file(const char *option, const char *url, ew_error *err) {
    char *named = strdup(socket_url_path(url));
    if (!named)
        return ew_fail(err, EW_ERR_NO_MEMORY, "%s", option);
    char *slash = strrchr(named, '/');
    slash[slash == named] = '\0';
    char *directory = realpath(named, NULL);
    int problem = errno;
    free(named);
    if (!directory)
        return ew_fail(err, problem == ENOMEM ? EW_ERR_NO_MEMORY : EW_ERR_INVALID,
                       "%s = \"%.80s\": the directory of the socket: %s", option, url, strerror(problem));
    int status = check_directories(option, url, directory, err);
    free(directory);
    return status == EW_OK ? check_file(option, url, err) : status;
}

static int check_url(const char *option, const char *url, unsigned allowed, socket_scheme *scheme, ew_error *err) {
    int status = socket_url_check(option, url, allowed, scheme, err);
    return status == EW_OK && *scheme == SOCKET_IPC ? check_socket_file(option, url, err) : status;
}

/* ---- options ---- */

static int check_outward(const char *option, const char *url, const char *needs, bool on, bool *tls, ew_error *err) {
    socket_scheme scheme;
    if (url[0] == '\0')
        return EW_OK;
    if (!on)
        return ew_fail(err, EW_ERR_INVALID, "%s is set, but %s is off", option, needs);
    int status = check_url(option, url, SOCKET_OUTWARD, &scheme, err);
    *tls |= status == EW_OK && scheme == SOCKET_TLS;
    return status;
}

static int check_tls(const ew_options *o, bool used, ew_error *err) {
    bool any = o->listen_cert_file[0] || o->listen_key_file[0] || o->listen_ca_file[0];
    bool all = o->listen_cert_file[0] && o->listen_key_file[0] && o->listen_ca_file[0];
    if (any && !used)
        return ew_fail(err, EW_ERR_INVALID,
                       "listen_cert_file, listen_key_file and listen_ca_file need a submit_url or ticks_url with "
                       "tls+tcp://");
    if (used && !all)
        return ew_fail(err, EW_ERR_INVALID,
                       "tls+tcp:// needs listen_cert_file, listen_key_file and listen_ca_file, the CA of the client "
                       "certificates");
    const mailbox_place place = {.url = o->submit_url,
                                 .cert_file = o->listen_cert_file,
                                 .key_file = o->listen_key_file,
                                 .ca_file = o->listen_ca_file};
    return used ? mailbox_check_tls(&place, err) : EW_OK;
}

int sockets_check(const ew_options *o, ew_error *err) {
    socket_scheme scheme;
    bool tls = false;
    int status = check_url("url_prefix", o->url_prefix, SOCKET_INPROC, &scheme, err);
    if (status == EW_OK)
        status = check_outward("submit_url", o->submit_url, "submit", o->submit, &tls, err);
    if (status == EW_OK)
        status = check_outward("ticks_url", o->ticks_url, "publish_ticks", o->publish_ticks, &tls, err);
    bool port = socket_url_check("", o->submit_url, SOCKET_TLS | SOCKET_TCP | SOCKET_WS, &scheme, NULL) == EW_OK;
    if (status == EW_OK && o->submit_url[0] != '\0' && !port && strcmp(o->submit_url, o->ticks_url) == 0)
        status = ew_fail(err, EW_ERR_INVALID, "submit_url and ticks_url are the same");
    return status == EW_OK ? check_tls(o, tls, err) : status;
}

int sockets_check_actor(const char *mailbox_url, const char *peer_url, ew_error *err) {
    socket_scheme scheme;
    int status = check_url("mailbox_url", mailbox_url, SOCKET_MAILBOX, &scheme, err);
    return status == EW_OK ? socket_url_check("peer_url", peer_url, SOCKET_MAILBOX, &scheme, err) : status;
}
