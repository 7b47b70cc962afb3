#include "core/socket_url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

/* The maximum length of a host name (RFC 1035). */
enum { HOST_MAX = 256 };

static const struct {
    const char *prefix;
    socket_scheme scheme;
} schemes[] = {
    {"inproc://", SOCKET_INPROC}, {"ipc://", SOCKET_IPC}, {"tls+tcp://", SOCKET_TLS},
    {"tcp://", SOCKET_TCP},       {"ws://", SOCKET_WS},
};

/* Returns the part of the URL after the scheme; NULL if the scheme is unknown. */
static const char *find_scheme(const char *url, socket_scheme *scheme) {
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i].prefix);
        if (strncmp(url, schemes[i].prefix, len) == 0) {
            *scheme = schemes[i].scheme;
            return url + len;
        }
    }
    return NULL;
}

static int refuse(const char *option, const char *url, const char *why, ew_error *err) {
    return ew_fail(err, EW_ERR_INVALID, "%s = \"%.80s\": %s", option, url, why);
}

static int refuse_scheme(const char *option, const char *url, unsigned allowed, ew_error *err) {
    if (!strstr(url, "://"))
        return refuse(option, url, "an nng URL is needed, such as inproc://name or ipc:///run/dir/socket", err);
    if (allowed != SOCKET_INPROC && strncmp(url, "abstract://", 11) == 0)
        return refuse(option, url,
                      "every process of the host may connect to an abstract socket, which has no file mode; use ipc://",
                      err);
    if (allowed == SOCKET_INPROC)
        return refuse(option, url,
                      "must begin with inproc://, because any program that reaches the actors can write to etcd; "
                      "submit_url and ticks_url are for other programs",
                      err);
    if (allowed == SOCKET_MAILBOX)
        return refuse(
            option, url,
            "an actor's mailbox can only be inproc:// or ipc://, because any program that reaches it can write to etcd",
            err);
    return refuse(option, url,
                  "unknown transport; inproc://, ipc:// and tls+tcp:// can be used, tcp:// and ws:// on loopback", err);
}

static int check_path(const char *option, const char *url, const char *path, ew_error *err) {
    size_t len = strlen(path);
    if (path[0] != '/' || path[len - 1] == '/')
        return refuse(option, url, "an absolute path of a socket file is needed, such as ipc:///run/dir/socket", err);
    if (len >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return refuse(option, url, "the path is too long for a socket file", err);
    return EW_OK;
}

/* Splits host:port. Returns what follows the port, NULL if there is no port. Removes the brackets of an IPv6
 * address. */
static const char *split(const char *rest, char host[HOST_MAX], long *port) {
    bool bracket = rest[0] == '[';
    size_t len = bracket ? strcspn(rest + 1, "]") : strcspn(rest, ":/?#");
    const char *end = rest + bracket + len;
    if (len >= HOST_MAX || (bracket && *end++ != ']') || *end++ != ':' || *end < '0' || *end > '9')
        return NULL;
    memcpy(host, rest + bracket, len);
    host[len] = '\0';
    char *after;
    *port = strtol(end, &after, 10);
    return *port <= 65535 && after - end <= 5 ? after : NULL;
}

static bool is_loopback(const char *rest, const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    if (rest[0] == '[')
        return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static int check_address(const char *option, const char *url, const char *rest, socket_scheme scheme, ew_error *err) {
    char host[HOST_MAX];
    long port;
    const char *path = split(rest, host, &port);
    if (!path || (path[0] != '\0' && path[0] != '/'))
        return refuse(option, url, "a host and a port from 0 to 65535 are needed, such as 127.0.0.1:5555", err);
    if (scheme != SOCKET_WS && path[0] != '\0')
        return refuse(option, url, "no text is allowed after the port", err);
    if (scheme == SOCKET_TLS)
        return host[0] != '\0' ? EW_OK : refuse(option, url, "a host is needed; * means all addresses", err);
    if (!is_loopback(rest, host))
        return refuse(option, url,
                      "without TLS only a loopback address, 127.0.0.0/8 or [::1], can be used (not a name), because "
                      "every program that reaches the port is served; use tls+tcp://",
                      err);
    return EW_OK;
}

int socket_url_check(const char *option, const char *url, unsigned allowed, socket_scheme *scheme, ew_error *err) {
    const char *rest = find_scheme(url, scheme);
    if (!rest || (*scheme & allowed) == 0)
        return refuse_scheme(option, url, allowed, err);
    if (rest[0] == '\0')
        return refuse(option, url, "the address after the transport is missing", err);
    switch (*scheme) {
    case SOCKET_IPC:
        return check_path(option, url, rest, err);
    case SOCKET_TLS:
    case SOCKET_TCP:
    case SOCKET_WS:
        return check_address(option, url, rest, *scheme, err);
    case SOCKET_INPROC:
        break;
    }
    return EW_OK;
}

const char *socket_url_path(const char *url) {
    return strstr(url, "://") + 3;
}

bool socket_url_with_port(const char *url, int port, char *out, size_t size) {
    const char *rest = socket_url_path(url);
    const char *colon = rest[0] == '[' ? strchr(rest, ']') + 1 : strchr(rest, ':');
    const char *after = colon + 1 + strspn(colon + 1, "0123456789");
    int len = snprintf(out, size, "%.*s:%d%s", (int)(colon - url), url, port, after);
    return len > 0 && (size_t)len < size;
}
