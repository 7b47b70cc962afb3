/* What is wrong with the options of a service together, before anything is started: options that exclude each other, or
 * need each other, and files that cannot be read. */
#ifndef SERVICE_SETTINGS_CHECK_H
#define SERVICE_SETTINGS_CHECK_H

#include "service/settings.h"

/* EW_ERR_INVALID names the option. EW_ERR_NO_MEMORY. */
int settings_check(const settings *s, ew_error *err);

/* The files of certificates, keys and the password. EW_ERR_INVALID names the option and the file. */
int settings_check_files(const ew_options *o, ew_error *err);

#endif
