/* The config file: lines of `name = value`, and comments that start with # or ;. */
#ifndef SERVICE_CONFIG_FILE_H
#define SERVICE_CONFIG_FILE_H

#include <stdio.h>

/* One line's name and value, borrowed for the call. Whoever is called reports what is wrong with them. */
typedef void (*config_line_fn)(void *arg, int line, const char *name, const char *value);

/* Reads the whole file. What is no `name = value` goes to `problems` as "path:line: ...". Answers how many such lines
 * there were, -1 if the file cannot be read, or CONFIG_FILE_NO_MEMORY (both reported as well). */
enum { CONFIG_FILE_NO_MEMORY = -2 };
int config_file_read(const char *path, config_line_fn fn, void *arg, FILE *problems);

#endif
