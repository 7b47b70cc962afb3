/* Single actors, for nng applications that need only the watcher or only the committer.
 *
 * SECURITY: a program that can connect to an actor's mailbox has all rights of that actor. A program that can reach the
 * committer's mailbox can write to etcd below `prefix` with the rights of the client; one that can reach the watcher's
 * mailbox can stop the watcher; one that listens at `peer_url` can read the keys. The sender of a message is not
 * checked. So the URLs must be inproc:// (this process) or ipc:// (programs that may open the socket file). The socket
 * file is made with mode 0660. Its directory, and all directories above, must belong to this process's user or to root,
 * and must not be writable by others unless they are sticky. Programs on other hosts use a worker's `submit_url` and
 * `ticks_url`.
 *
 * An actor has one thread and one PULL mailbox at a URL that the caller chooses; it pushes to the URL that it is given.
 * The messages are those of proto/actors.proto: one `Message` per body, of at most 64 MiB over ipc.
 *
 * The watcher pushes SNAPSHOT, EVENTS, PROGRESS and HEALTH to `peer_url`, and DOWN as its last message. It accepts STOP
 * and CHECK; it answers CHECK with CHECKED or with a new SNAPSHOT.
 *
 * The committer accepts PATCHES, at most one batch at a time, and answers each with an OUTCOME to `peer_url`; DOWN is
 * its last message. It accepts STOP. It writes no receipts, because the lease that a receipt needs is the worker's, so
 * a lost response is EW_ERR_UNKNOWN_OUTCOME. It does not send a unit that writes outside `prefix`, or that has other
 * operations than puts and deletes of single keys, nor the units after it: the OUTCOME has EW_ERR_BAD_MESSAGE and names
 * the unit.
 *
 * Both count and drop all other messages. */
#ifndef ETCDWORKER_ACTOR_H
#define ETCDWORKER_ACTOR_H

#include <etcdworker/client.h>
#include <etcdworker/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_actor ew_actor;

/* Make an actor: listen at `mailbox_url`, dial `peer_url` (its PULL socket may be opened later), and start the thread.
 * The actor uses the worker's prefix and limits and the client's timeouts and backoffs from `options`. The client must
 * outlive the actor. On success the caller ends the actor with ew_actor_close; on failure `*out` is NULL.
 * EW_ERR_INVALID: a URL cannot be used; the detail names it and the reason. */
EW_API ew_status ew_watcher_open(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                                 const char *peer_url, ew_error *err);
EW_API ew_status ew_committer_open(ew_actor **out, ew_client *client, const ew_options *options,
                                   const char *mailbox_url, const char *peer_url, ew_error *err);

/* Returns how many messages were dropped because their type was wrong, they were malformed, or a batch came before the
 * answer to the previous one. Any thread. */
EW_API uint64_t ew_actor_bad_messages(const ew_actor *a);

/* Stops the actor, waits for its thread, closes its sockets and frees it. Returns EW_OK if the actor ended by a stop,
 * or the error that ended it. nng discards what a closed socket has not delivered, so messages that `peer_url` has not
 * received by then may be lost, DOWN included. To receive everything, send STOP, receive until DOWN, and then call this
 * function. Call it once, from one thread. */
EW_API ew_status ew_actor_close(ew_actor *a, ew_error *err);

#ifdef __cplusplus
}
#endif
#endif
