/* Writes log lines to a file descriptor on a thread of its own, so that a pipe without a reader, a stopped terminal or
 * a slow disk blocks only this thread. The queue is bounded: a line that does not fit is dropped and counted, and a
 * note with the number of dropped lines takes their place in the log.
 *
 * O_NONBLOCK would be simpler, but it belongs to the open file description: set on a terminal, it would also affect the
 * shell that started this process. */
#ifndef SERVICE_LOG_WRITER_H
#define SERVICE_LOG_WRITER_H

#include <etcdworker/error.h>

enum { LOG_LINE_BYTES = 4096 }; /* PIPE_BUF: the kernel does not interleave writes of up to this size */

/* Writes the line that reports `count` dropped lines to `out`; returns its length. */
typedef size_t (*log_note_fn)(char out[LOG_LINE_BYTES], uint64_t count);

/* Starts the thread. EW_ERR_SYSTEM if that fails, or if it runs already: there is one for the process. */
int log_writer_start(int fd, log_note_fn note, ew_error *err);

/* Queues a line of `len` bytes, at most LOG_LINE_BYTES, the last of which is '\n'. Never waits for the descriptor. Any
 * thread. */
void log_writer_put(const char *line, size_t len);

/* Returns how many lines were dropped so far, because the queue was full or because they could not be written. Any
 * thread. */
uint64_t log_writer_dropped(void);

/* Waits until all queued lines are written, for at most `timeout_ms`. */
void log_writer_flush(int timeout_ms);

/* Calls log_writer_flush, then ends the thread. Remaining and later lines are dropped. */
void log_writer_stop(int timeout_ms);

#endif
