/* Single actors, for nng applications that want only the watcher or only the committer.
 *
 * SECURITY: a program that can connect to a mailbox can do what its actor can. A program that reaches the committer's
 * mailbox writes to etcd below `prefix` with the rights of the client; one that reaches the watcher's stops it; one
 * that listens at `peer_url` reads the keys. The sender of a message is not checked. So the URLs can only be inproc://
 * (this process) or ipc:// (programs that may open the socket file: it is made with mode 0660, in a directory that,
 * with those above it, belongs to this process's user or to root, and that others cannot write unless it is sticky).
 * For programs elsewhere there are a worker's `submit_url` and `ticks_url`.
 *
 * An actor is a thread with one PULL mailbox at a URL of the caller's choosing; it pushes to the URL it is given. The
 * messages are those of proto/actors.proto, one `Message` a body, of at most 64 MiB over ipc.
 *
 * The watcher pushes SNAPSHOT, EVENTS, PROGRESS and HEALTH to `peer_url`, and DOWN as its last message. It takes STOP,
 * and AUDIT, which it answers with AUDITED or with a new SNAPSHOT. The committer takes PATCHES (without receipts: a
 * lost answer is EW_ERR_UNKNOWN_OUTCOME, since the lease that a receipt needs is the worker's), at most one batch at a
 * time, answers each with an OUTCOME to `peer_url`, and sends DOWN last. It takes STOP. A unit that writes outside
 * `prefix`, or has other operations than puts and deletes of single keys, is not sent, nor are those behind it: the
 * OUTCOME says EW_ERR_BAD_MESSAGE, and which. Whatever else arrives on a mailbox is counted and dropped. */
#ifndef ETCDWORKER_ACTOR_H
#define ETCDWORKER_ACTOR_H

#include <etcdworker/client.h>
#include <etcdworker/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_actor ew_actor;

/* Listens at `mailbox_url`, dials `peer_url` (whose PULL socket may come later), and starts. Of the options the
 * worker's prefix and limits are read, and the client's timeouts and waits. The client must outlive the actor.
 * EW_ERR_INVALID names the URL that cannot be used, and why. On failure `*out` is NULL. */
EW_API int ew_watcher_start(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                            const char *peer_url, ew_error *err);
EW_API int ew_committer_start(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                              const char *peer_url, ew_error *err);

/* Messages that were dropped because they were of a wrong type or malformed, or a batch that came before the answer to
 * the last one. Any thread. */
EW_API uint64_t ew_actor_bad_messages(const ew_actor *a);

/* Stops the actor, waits for its thread, closes its sockets and frees. Answers what the actor ended with: EW_OK after a
 * stop, or its error. nng keeps nothing of a socket that is closed: what `peer_url` has not received by then, DOWN too,
 * may be lost. To receive everything, send STOP, receive until DOWN, and then call this. One thread, once. */
EW_API int ew_actor_stop(ew_actor *a, ew_error *err);

#ifdef __cplusplus
}
#endif
#endif
