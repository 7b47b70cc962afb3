/* Log records on stderr, one line each: logfmt (`time=... level=info msg="..." key=value`) or a JSON object. */
#ifndef SERVICE_LOGGER_H
#define SERVICE_LOGGER_H

#include "core/log.h"

#include <etcdworker/error.h>

/* Installs the process's log function (ew_log_set). A thread that logs never waits for stderr: see log_writer.h. Call
 * it before any other thread is started. EW_ERR_SYSTEM if no thread can be started. */
int logger_start(bool json, ew_log_level level, ew_error *err);

/* Returns how many records were dropped so far. Any thread. */
uint64_t logger_dropped(void);

/* Waits until the last records are written, for at most a tenth of a second. */
void logger_flush_before_forced_end(void);

/* Ends the log. Records that stderr does not take within a second are dropped. */
void logger_stop(void);

/* Writes the program's name and a line of plain text to stderr, for errors before the log is started or of the log
 * itself. Gives up if stderr takes nothing for a second. */
void logger_say(const char *text);

#endif
