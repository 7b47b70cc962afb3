/* Checks of the service's options before anything is started: options that exclude or require each other, and files
 * that cannot be read. */
#ifndef SERVICE_SETTINGS_CHECK_H
#define SERVICE_SETTINGS_CHECK_H

#include "service/settings.h"

/* Checks the options together. EW_ERR_INVALID: the error names the option; EW_ERR_NO_MEMORY. */
int settings_check(const settings *s, ew_error *err);

/* Checks that the files of certificates, keys and the password can be read. EW_ERR_INVALID: the error names the option
 * and the file; EW_ERR_NO_MEMORY. */
int settings_check_files(const ew_options *o, ew_error *err);

#endif
