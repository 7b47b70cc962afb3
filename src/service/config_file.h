/* The config file: `name = value` lines, and comments that start with # or ;. */
#ifndef SERVICE_CONFIG_FILE_H
#define SERVICE_CONFIG_FILE_H

#include <stdio.h>

/* Gets the name and value of one line, valid during the call. The callback reports errors in them. */
typedef void (*config_line_fn)(void *arg, int line, const char *name, const char *value);

/* Reads the whole file. Each line that is not `name = value` is reported to `problems` as "path:line: ...". Returns the
 * number of such lines, -1 if the file cannot be read, or CONFIG_FILE_NO_MEMORY (both are also reported). */
enum { CONFIG_FILE_NO_MEMORY = -2 };
int config_file_read(const char *path, config_line_fn fn, void *arg, FILE *problems);

#endif
