/* Functions that all listening sockets share: limits, file modes, certificates, and counts of connections.
 * Only mailbox*.c may include this header, since it includes nng's headers. */
#ifndef ACTORS_MAILBOX_LISTENING_H
#define ACTORS_MAILBOX_LISTENING_H

#include "actors/mailbox.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <time.h>

/* mailbox_cond_init makes a condition variable whose timeouts use the clock of etcd_now_ms; returns 0 or an error.
 * mailbox_timespec converts a time of that clock. */
int mailbox_cond_init(pthread_cond_t *cond);
struct timespec mailbox_timespec(int64_t deadline_ms);

/* Closes the socket, within 5 s if other processes can reach a socket of this process. False: nng did not finish in
 * time, or the close was not started because an earlier one has not ended; the socket stays open, and `owner`, which
 * its callbacks use, must not be freed. */
bool mailbox_close_socket(nng_socket s, void *owner);

/* Notes that other processes can reach a socket of this process from now on. */
void mailbox_is_outward(void);

/* Sets `err` for the error `rv` of nng; returns its status. */
int nng_failed(ew_error *err, const char *what, const char *url, int rv);

/* Makes the TLS configuration of a place from its files. The caller frees it with nng_tls_config_free. */
int mailbox_make_tls(nng_tls_config **out, const mailbox_place *place, ew_error *err);

/* Makes `s` listen at the place. With `requests`, a connection that ends without a request is counted. A message of
 * more than `most_bytes` closes its connection (0: no limit; inproc has no limit). The caller frees `*out` after it has
 * closed the socket, also if this fails. */
int listening_open(listening **out, nng_socket s, const mailbox_place *place, bool requests, size_t most_bytes,
                   ew_error *err);

/* Notes that a message arrived over this connection. */
void listening_heard(listening *l, nng_pipe pipe);

/* Closes the connection if it is still open, counts it as refused, and logs why. */
void listening_drop(listening *l, nng_pipe pipe, const char *why);

/* To be called after the socket has been closed. NULL is allowed. */
void listening_free(listening *l);

#endif
