/* Other nng applications: clients that submit one group after the other, over REQ sockets that send again every second
 * and whenever a connection breaks, and that write down what they were told. */
#ifndef TESTS_LIB_SUBMITTERS_H
#define TESTS_LIB_SUBMITTERS_H

#include <etcdworker/client.h>

enum { SUBMITTERS_URLS_MAX = 3, SUBMITTERS_RESEND_MS = 1000 };

typedef struct submitters submitters;

/* Has the worker of these options take submits over an ipc socket in `directory`, which is its own; `url` is
 * where. The same for each run of it. */
void submitters_serve(ew_options *o, const char *directory, char *url, size_t size);

/* Starts `count` clients. Each dials all URLs, and puts keys below `prefix`, each key once. */
submitters *submitters_open(const char *const *urls, const char *prefix, unsigned count);

uint64_t submitters_replies(submitters *s); /* so far, of all */
uint64_t submitters_least(submitters *s);   /* of the client that has the fewest */

/* Lets every client finish what it has outstanding, and end; then compares what they were told with what is in etcd.
 * Answers whether all of it is true, `problem` otherwise, and frees. */
bool submitters_close(submitters *s, ew_client *client, char *problem, size_t size);

#endif
