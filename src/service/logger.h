/* Log records on stderr, a line each: logfmt (`time=... level=info msg="..." key=value`) or one JSON object. */
#ifndef SERVICE_LOGGER_H
#define SERVICE_LOGGER_H

#include "core/log.h"

/* Takes the process's records from now on (ew_log_set). Call it before any other thread is there. */
void logger_start(bool json, ew_log_level level);

#endif
