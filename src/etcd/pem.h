/* Checks of certificates and keys before they are used, so that an error names the option and the file. */
#ifndef ETCD_PEM_H
#define ETCD_PEM_H

#include <etcdworker/error.h>

/* Where a text was read from, for errors. */
typedef struct pem_file {
    const char *option, *path;
} pem_file;

/* EW_ERR_INVALID unless one of the certificates is valid now. */
int pem_check_authorities(const char *pem, const pem_file *file, ew_error *err);

/* EW_ERR_INVALID unless the certificate is valid now and the key, which is not encrypted, is its key. */
int pem_check_pair(const char *cert_pem, const pem_file *cert_file, const char *key_pem, const pem_file *key_file,
                   ew_error *err);

#endif
