/* Checks where the sockets of workers and actors may listen: the URLs in the options, and the files that they need. */
#ifndef ACTORS_SOCKETS_H
#define ACTORS_SOCKETS_H

#include <etcdworker/options.h>

/* Checks url_prefix, submit_url, ticks_url and the certificate files of the listener. EW_ERR_INVALID names the option
 * and the reason. Reads directories and certificates; opens no socket. */
int sockets_check(const ew_options *o, ew_error *err);

/* Checks the URLs of a single actor: inproc, or ipc in a directory that others cannot write. */
int sockets_check_actor(const char *mailbox_url, const char *peer_url, ew_error *err);

#endif
