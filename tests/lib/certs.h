/* Creates certificates for TLS tests. Every error ends the test program. */
#ifndef TESTS_LIB_CERTS_H
#define TESTS_LIB_CERTS_H

typedef struct certs certs;

/* Creates a certificate authority in a new directory. */
certs *certs_new(void);
void certs_free(certs *c); /* removes the files */

typedef struct cert_paths {
    char cert[192], key[192];
} cert_paths;

/* Creates a certificate that the authority signs, valid from `from_days` to `to_days` from now. `names` are its subject
 * alternative names, "IP:127.0.0.1,DNS:localhost"; NULL for a client certificate. */
cert_paths certs_make(certs *c, const char *name, const char *names, int from_days, int to_days);

/* Encrypts the key of that file with a password. Returns the path of the new file, valid until the next call. */
const char *certs_encrypt(certs *c, const char *key, const char *password);

const char *certs_authority(const certs *c); /* the path of the authority's certificate */

/* Writes a file into the directory. Returns its path, valid until the next call. */
const char *certs_write(certs *c, const char *name, const char *text);

#endif
