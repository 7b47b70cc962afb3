#include "etcd/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static X509 *read_certificate(BIO *bio) {
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ERR_clear_error();
    return x;
}

static int check_dates(const X509 *x, const pem_file *file, ew_error *err) {
    if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0)
        return ew_fail(err, EW_ERR_INVALID, "%s %s: the certificate has expired", file->option, file->path);
    if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        return ew_fail(err, EW_ERR_INVALID, "%s %s: the certificate is not valid yet", file->option, file->path);
    return EW_OK;
}

/* One valid certificate is enough: a bundle may also hold expired ones. */
int pem_check_authorities(const char *pem, const pem_file *file, ew_error *err) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    int status = ew_fail(err, EW_ERR_INVALID, "%s %s: no certificate in the file", file->option, file->path);
    for (X509 *x; bio && status != EW_OK && (x = read_certificate(bio)); X509_free(x))
        status = check_dates(x, file, err);
    BIO_free(bio);
    return status;
}

static int no_password(char *buffer, int size, int writing, void *arg) {
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1; /* do not ask on the terminal */
}

int pem_check_pair(const char *cert_pem, const pem_file *cert_file, const char *key_pem, const pem_file *key_file,
                   ew_error *err) {
    BIO *cert_bio = BIO_new_mem_buf(cert_pem, -1), *key_bio = BIO_new_mem_buf(key_pem, -1);
    X509 *x = cert_bio ? read_certificate(cert_bio) : NULL;
    EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, no_password, NULL) : NULL;
    int status = EW_OK;
    if (!x)
        status = ew_fail(err, EW_ERR_INVALID, "%s %s: no certificate in the file", cert_file->option, cert_file->path);
    else if (!key)
        status = ew_fail(err, EW_ERR_INVALID, "%s %s: no key in the file, or an encrypted one", key_file->option,
                         key_file->path);
    else if (X509_check_private_key(x, key) != 1)
        status = ew_fail(err, EW_ERR_INVALID, "%s %s: not the key of %s %s", key_file->option, key_file->path,
                         cert_file->option, cert_file->path);
    else
        status = check_dates(x, cert_file, err);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(x);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return status;
}
