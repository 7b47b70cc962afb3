/* nng applications that submit one group after the other. Their REQ sockets send again every second and whenever a
 * connection breaks. They record every reply. */
#ifndef TESTS_LIB_SUBMITTERS_H
#define TESTS_LIB_SUBMITTERS_H

#include <etcdworker/client.h>

enum { SUBMITTERS_URLS_MAX = 3, SUBMITTERS_RESEND_MS = 1000 };

typedef struct submitters submitters;

/* Makes the worker of these options accept submits on an ipc socket in `directory`, which must be the worker's alone.
 * Writes the URL to `url`; it is the same for each run of the worker. */
void submitters_serve(ew_options *o, const char *directory, char *url, size_t size);

/* Starts `count` clients. Each dials all URLs and puts keys below `prefix`, each key once. */
submitters *submitters_open(const char *const *urls, const char *prefix, unsigned count);

uint64_t submitters_replies(submitters *s); /* so far, of all clients */
uint64_t submitters_least(submitters *s);   /* so far, of the client with the fewest */

/* Lets every client finish its outstanding submit and end. Then compares all replies with etcd. Returns whether they
 * agree; otherwise `problem` says which does not. Frees `s`. */
bool submitters_close(submitters *s, ew_client *client, char *problem, size_t size);

#endif
