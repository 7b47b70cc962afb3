#include "etcd/tls.h"
#include "etcd/file.h"

#include <grpc/grpc_security.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <stdlib.h>

typedef struct tls_files {
    char *ca, *cert, *key;
} tls_files;

static X509 *read_certificate(BIO *bio) {
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ERR_clear_error();
    return x;
}

static int check_dates(const X509 *x, const char *option, const char *path, ew_error *err) {
    if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0)
        return ew_fail(err, EW_ERR_INVALID, "%s %s: the certificate has expired", option, path);
    if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        return ew_fail(err, EW_ERR_INVALID, "%s %s: the certificate is not valid yet", option, path);
    return EW_OK;
}

/* At least one of the authorities must be of use; a bundle may hold old ones beside it. */
static int check_authorities(const char *pem, const char *path, ew_error *err) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    int status = ew_fail(err, EW_ERR_INVALID, "ca_file %s: it holds no certificate", path);
    for (X509 *x; bio && status != EW_OK && (x = read_certificate(bio)) != NULL; X509_free(x))
        status = check_dates(x, "ca_file", path, err);
    BIO_free(bio);
    return status;
}

static int no_password(char *buffer, int size, int writing, void *arg) {
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1; /* rather than asking on the terminal */
}

static int check_pair(const tls_files *f, const char *cert_path, const char *key_path, ew_error *err) {
    BIO *cert_bio = BIO_new_mem_buf(f->cert, -1), *key_bio = BIO_new_mem_buf(f->key, -1);
    X509 *x = cert_bio ? read_certificate(cert_bio) : NULL;
    EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, no_password, NULL) : NULL;
    int status = EW_OK;
    if (!x)
        status = ew_fail(err, EW_ERR_INVALID, "cert_file %s: it holds no certificate", cert_path);
    else if (!key)
        status = ew_fail(err, EW_ERR_INVALID, "key_file %s: it holds no key, or an encrypted one", key_path);
    else if (X509_check_private_key(x, key) != 1)
        status = ew_fail(err, EW_ERR_INVALID, "key_file %s: this is not the key of cert_file %s", key_path, cert_path);
    else
        status = check_dates(x, "cert_file", cert_path, err);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(x);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return status;
}

static void free_files(tls_files *f) {
    file_free(f->ca);
    file_free(f->cert);
    file_free(f->key);
}

static int read_files(tls_files *f, const ew_options *o, ew_error *err) {
    const char *ca = ew_options_text(o, "ca_file"), *cert = ew_options_text(o, "cert_file"),
               *key = ew_options_text(o, "key_file");
    *f = (tls_files){0};
    if ((cert[0] == '\0') != (key[0] == '\0'))
        return ew_fail(err, EW_ERR_INVALID, "cert_file and key_file are only of use together");
    int status = EW_OK;
    if (ca[0]) {
        status = file_read(&f->ca, "ca_file", ca, err);
        if (status == EW_OK)
            status = check_authorities(f->ca, ca, err);
    }
    if (status == EW_OK && cert[0]) {
        status = file_read(&f->cert, "cert_file", cert, err);
        if (status == EW_OK)
            status = file_read(&f->key, "key_file", key, err);
        if (status == EW_OK)
            status = check_pair(f, cert, key, err);
    }
    return status;
}

bool tls_is_on(const ew_options *o) {
    return ew_options_text(o, "ca_file")[0] || ew_options_text(o, "cert_file")[0] ||
           ew_options_text(o, "key_file")[0] || ew_options_text(o, "server_name")[0];
}

bool tls_is_wanted(const ew_options *o) {
    return tls_is_on(o) || strstr(ew_options_text(o, "endpoints"), "https://");
}

/* With its end, so that two cannot run together. */
static void add_to_digest(EVP_MD_CTX *md, const char *text) {
    EVP_DigestUpdate(md, text ? text : "", text ? strlen(text) + 1 : 1);
}

static bool digest_files(unsigned char *digest, const tls_files *f) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    if (good) {
        add_to_digest(md, f->ca);
        add_to_digest(md, f->cert);
        add_to_digest(md, f->key);
        good = EVP_DigestFinal_ex(md, digest, NULL) == 1;
    }
    EVP_MD_CTX_free(md);
    return good;
}

int tls_credentials_init(tls_credentials *c, const ew_options *o, bool wanted, ew_error *err) {
    *c = (tls_credentials){0};
    if (!wanted) {
        c->channel = grpc_insecure_credentials_create();
        return EW_OK;
    }
    tls_files f;
    int status = read_files(&f, o, err);
    if (status == EW_OK && !digest_files(c->digest, &f))
        status = ew_fail(err, EW_ERR_NO_MEMORY, "TLS");
    if (status == EW_OK) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = f.key, .cert_chain = f.cert};
        c->channel = grpc_ssl_credentials_create_ex(f.ca, f.cert ? &pair : NULL, NULL, NULL);
        if (!c->channel)
            status = ew_fail(err, EW_ERR_INVALID, "TLS: the certificates are of no use to gRPC");
    }
    free_files(&f);
    return status;
}

void tls_credentials_fini(tls_credentials *c) {
    if (c->channel)
        grpc_channel_credentials_release(c->channel);
    *c = (tls_credentials){0};
}

bool tls_credentials_equal(const tls_credentials *a, const tls_credentials *b) {
    return memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}
