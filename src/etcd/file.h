/* Small files that options name: certificates, keys, passwords. */
#ifndef ETCD_FILE_H
#define ETCD_FILE_H

#include <etcdworker/error.h>

/* Reads the whole file, ended by a NUL; EW_ERR_SYSTEM names the option, the path and what is wrong with it. */
int file_read(char **out, const char *option, const char *path, ew_error *err);
void file_free(char *text); /* overwrites it first: it may be a secret. NULL is fine */

#endif
