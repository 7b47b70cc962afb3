/* Takes lines of log and writes them to a file descriptor on a thread of its own, so that a pipe that nobody reads, a
 * stopped terminal or a slow disk blocks this thread and no other. The queue is bounded: a line that does not fit is
 * dropped and counted, and a note that says how many were dropped takes their place in the log.
 *
 * O_NONBLOCK would be simpler, but it belongs to the open file description: set on a terminal, it also changes the
 * shell that started us. */
#ifndef SERVICE_LOG_WRITER_H
#define SERVICE_LOG_WRITER_H

#include <etcdworker/error.h>

enum { LOG_LINE_BYTES = 4096 }; /* PIPE_BUF: the kernel does not mix writes of this size with those of others */

/* Makes the line that says that `count` lines were dropped; answers its length. */
typedef size_t (*log_note_fn)(char out[LOG_LINE_BYTES], uint64_t count);

/* Starts the thread. EW_ERR_SYSTEM if there can be none. One at a time in a process. */
int log_writer_start(int fd, log_note_fn note, ew_error *err);

/* Queues a line, `len` bytes of which the last is '\n', at most LOG_LINE_BYTES. Never blocks. Any thread. */
void log_writer_put(const char *line, size_t len);

/* Lines dropped so far: because the queue was full, or because they could not be written. Any thread. */
uint64_t log_writer_dropped(void);

/* Waits until all queued lines are written, for at most `timeout_ms`. */
void log_writer_flush(int timeout_ms);

/* The same, then ends the thread; lines that are left, or come later, are dropped. */
void log_writer_stop(int timeout_ms);

#endif
