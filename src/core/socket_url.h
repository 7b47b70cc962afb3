/* The URLs of nng sockets: which transports are allowed. Pure. */
#ifndef CORE_SOCKET_URL_H
#define CORE_SOCKET_URL_H

#include <etcdworker/error.h>

typedef enum socket_scheme {
    SOCKET_INPROC = 1, /* this process */
    SOCKET_IPC = 2,    /* programs that may open the socket file */
    SOCKET_TLS = 4,    /* tls+tcp, with client certificates */
    SOCKET_TCP = 8,    /* without TLS, on loopback addresses */
    SOCKET_WS = 16,    /* without TLS, on loopback addresses */
} socket_scheme;

/* The transports allowed for the sockets of other programs, and for an actor's mailbox. A program that can reach a
 * mailbox can write to etcd with the rights of the client. */
#define SOCKET_OUTWARD (SOCKET_INPROC | SOCKET_IPC | SOCKET_TLS | SOCKET_TCP | SOCKET_WS)
#define SOCKET_MAILBOX (SOCKET_INPROC | SOCKET_IPC)

/* Checks that `url` is well-formed and its scheme is one of `allowed`, a set of socket_scheme. EW_ERR_INVALID names
 * `option` and the reason. On success `*scheme` is set. Checks only the text: resolves no name and opens no file. */
int socket_url_check(const char *option, const char *url, unsigned allowed, socket_scheme *scheme, ew_error *err);

/* Returns the path in an ipc URL; it points into `url`. */
const char *socket_url_path(const char *url);

/* Writes `url`, whose host and port have been checked, with `port` as its port. False if it does not fit. */
bool socket_url_with_port(const char *url, int port, char *out, size_t size);

#endif
