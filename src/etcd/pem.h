/* Checks certificates and keys before they are used, so that errors name the option and the file. */
#ifndef ETCD_PEM_H
#define ETCD_PEM_H

#include <etcdworker/error.h>

/* The option and file that a text was read from, for errors. */
typedef struct pem_file {
    const char *option, *path;
} pem_file;

/* Returns EW_ERR_INVALID unless at least one of the certificates is valid now. */
int pem_check_authorities(const char *pem, const pem_file *file, ew_error *err);

/* Returns EW_ERR_INVALID unless the certificate is valid now, and the key is not encrypted and belongs to it. */
int pem_check_pair(const char *cert_pem, const pem_file *cert_file, const char *key_pem, const pem_file *key_file,
                   ew_error *err);

#endif
