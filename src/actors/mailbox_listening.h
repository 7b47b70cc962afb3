/* What the listening sockets of mailbox.c have in common: limits, file modes, certificates, and a count of who
 * connects. Only mailbox*.c may include this header, since it includes nng's. */
#ifndef ACTORS_MAILBOX_LISTENING_H
#define ACTORS_MAILBOX_LISTENING_H

#include "actors/mailbox.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <time.h>

/* A condition whose waits end by the clock of etcd_now_ms; 0, or an error. And a time of that clock. */
int mailbox_cond_init(pthread_cond_t *cond);
struct timespec mailbox_timespec(int64_t deadline_ms);

/* Closes the socket, within 5 s if a socket of this process can be reached by others. False: nng does not end it, or
 * would not because it has not ended an earlier one; the socket stays open, and `owner`, which its callbacks use, must
 * not be freed. */
bool mailbox_close_socket(nng_socket s, void *owner);

/* From now on a socket of this process can be reached by others. */
void mailbox_is_outward(void);

/* A failure of nng as an error. */
int nng_failed(ew_error *err, const char *what, const char *url, int rv);

/* The TLS of a place, from its files: to be freed with nng_tls_config_free. */
int mailbox_make_tls(nng_tls_config **out, const mailbox_place *place, ew_error *err);

/* Listens with `s` at the place. With `requests`, each connection is expected to send some: one that ends without is
 * counted. Messages of more than `most_bytes` close their connection (0: no limit; inproc has none). Whatever it
 * answers, `*out` is to be freed after the socket has been closed. */
int listening_open(listening **out, nng_socket s, const mailbox_place *place, bool requests, size_t most_bytes,
                   ew_error *err);

/* A message came over this connection. */
void listening_heard(listening *l, nng_pipe pipe);

/* Closes the connection, if it is still open, counts it as refused and logs why. */
void listening_drop(listening *l, nng_pipe pipe, const char *why);

/* After its socket has been closed. NULL is fine. */
void listening_free(listening *l);

#endif
