/* Log records on stderr, a line each: logfmt (`time=... level=info msg="..." key=value`) or one JSON object. */
#ifndef SERVICE_LOGGER_H
#define SERVICE_LOGGER_H

#include "core/log.h"

#include <etcdworker/error.h>

/* Takes the process's records from now on (ew_log_set), and never makes the caller of a record wait: see log_writer.h.
 * Call it before any other thread is there. EW_ERR_SYSTEM if no thread can be started. */
int logger_start(bool json, ew_log_level level, ew_error *err);

/* Records dropped so far. Any thread. */
uint64_t logger_dropped(void);

/* Gives the last records a tenth of a second to be written. */
void logger_flush_before_forced_end(void);

/* Ends the writing. What stderr does not take within a second is dropped. */
void logger_stop(void);

/* Writes a line of plain text to stderr, after the program's name: what is wrong before there is a log, or with it.
 * Gives up after a second if stderr takes nothing. */
void logger_say(const char *text);

#endif
