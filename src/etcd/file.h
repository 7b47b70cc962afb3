/* Reads small files that options name: certificates, keys, passwords. */
#ifndef ETCD_FILE_H
#define ETCD_FILE_H

#include <etcdworker/error.h>

/* Reads the whole file and appends a NUL. The caller frees it with file_free. EW_ERR_SYSTEM names the option, the path
 * and the reason. */
int file_read(char **out, const char *option, const char *path, ew_error *err);
void file_free(char *text); /* overwrites the text first, since it may be a secret. NULL is allowed */

#endif
