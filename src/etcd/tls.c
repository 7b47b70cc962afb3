#include "etcd/tls.h"
#include "etcd/file.h"
#include "etcd/pem.h"

#include <grpc/grpc_security.h>

#include <openssl/evp.h>

#include <stdlib.h>

typedef struct tls_files {
    char *ca, *cert, *key;
} tls_files;

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
        return ew_fail(err, EW_ERR_INVALID, "cert_file and key_file must be set together");
    int status = EW_OK;
    if (ca[0]) {
        status = file_read(&f->ca, "ca_file", ca, err);
        if (status == EW_OK)
            status = pem_check_authorities(f->ca, &(pem_file){"ca_file", ca}, err);
    }
    if (status == EW_OK && cert[0]) {
        status = file_read(&f->cert, "cert_file", cert, err);
        if (status == EW_OK)
            status = file_read(&f->key, "key_file", key, err);
        if (status == EW_OK)
            status = pem_check_pair(f->cert, &(pem_file){"cert_file", cert}, f->key, &(pem_file){"key_file", key}, err);
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

/* With the terminating NUL, so that the texts are delimited. */
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
            status = ew_fail(err, EW_ERR_INVALID, "TLS: gRPC does not accept the certificates");
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
