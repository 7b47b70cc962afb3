#include "service/http_listen.h"
#include "service/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64, MOST_HOST = 250 };

/* Splits "host:port" into the host, without brackets, and the port. Returns false if the text has another form. */
static bool split(const char *address, char host[MOST_HOST + 1], const char **port) {
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : 0;
    if (!colon || len > MOST_HOST || strpbrk(address, "/ \t"))
        return false;
    *port = colon + 1;
    size_t digits = strspn(*port, "0123456789");
    if (digits == 0 || digits > 5 || (*port)[digits] != '\0' || atoi(*port) > 65535)
        return false;
    bool bracketed = len > 2 && address[0] == '[' && colon[-1] == ']';
    snprintf(host, MOST_HOST + 1, "%.*s", (int)(bracketed ? len - 2 : len), bracketed ? address + 1 : address);
    struct in6_addr six;
    return bracketed ? inet_pton(AF_INET6, host, &six) == 1 : !strpbrk(host, ":[]");
}

int http_check(const char *listen, ew_error *err) {
    char host[MOST_HOST + 1];
    const char *port;
    if (split(listen, host, &port))
        return EW_OK;
    return ew_fail(err, EW_ERR_INVALID,
                   "option http_listen: '%.100s' is not host:port, [IPv6 address]:port or :port (0 to 65535)", listen);
}

/* Returns a listening socket, or -1 with errno. `all`: an IPv6 socket also accepts IPv4. */
static int listen_at(const struct addrinfo *a, bool all) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1, only = !all;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static int port_of(int fd) {
    struct sockaddr_storage at;
    socklen_t size = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

/* Returns a listening socket, -1 with errno, or -1 with an error of getaddrinfo in `*problem`. */
static int listen_on(const char *host, const char *port, bool all, int *problem) {
    const struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    int fd = -1;
    *problem = getaddrinfo(host, port, &want, &list);
    if (*problem != 0)
        return -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = listen_at(a, all);
    int why = errno;
    freeaddrinfo(list);
    errno = why;
    return fd;
}

/* Listens on all addresses; without IPv6 on 0.0.0.0. */
static int listen_on_all(const char *port, int *problem) {
    int fd = listen_on("::", port, true, problem);
    if (fd < 0 && (*problem != 0 || errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = listen_on("0.0.0.0", port, true, problem);
    return fd;
}

int http_listen(int *fd, const char *address, char *url, size_t size, ew_error *err) {
    char host[MOST_HOST + 1];
    const char *port;
    *fd = -1;
    if (!split(address, host, &port))
        return http_check(address, err);
    int problem;
    *fd = host[0] == '\0' ? listen_on_all(port, &problem) : listen_on(host, port, false, &problem);
    if (problem != 0)
        return ew_fail(err, problem == EAI_MEMORY ? EW_ERR_NO_MEMORY : EW_ERR_INVALID, "option http_listen: %.100s: %s",
                       address, gai_strerror(problem));
    if (*fd < 0)
        return ew_fail(err, EW_ERR_SYSTEM, "cannot start the HTTP server on %.100s: %s", address, strerror(errno));
    snprintf(url, size, strchr(host, ':') ? "http://[%s]:%d" : "http://%s:%d", host[0] ? host : "*", port_of(*fd));
    return EW_OK;
}
