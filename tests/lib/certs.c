#include "lib/certs.h"
#include "lib/process.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct certs {
    char dir[64], authority[128], written[192];
    X509 *ca;
    EVP_PKEY *ca_key;
    long serial;
};

static void must(int good, const char *what) {
    if (!good)
        process_die("certificates: %s", what);
}

static void add_extension(X509 *x, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    must(e && X509_add_ext(x, e, -1), value);
    X509_EXTENSION_free(e);
}

static X509 *make(certs *c, EVP_PKEY *key, const char *name, int from_days, int to_days) {
    X509 *x = X509_new();
    X509_NAME *subject = x ? X509_get_subject_name(x) : NULL;
    must(subject != NULL, "memory");
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++c->serial);
    X509_gmtime_adj(X509_getm_notBefore(x), from_days * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(x), to_days * 86400L);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, c->ca ? X509_get_subject_name(c->ca) : subject);
    return x;
}

static FILE *create(const char *path) {
    FILE *f = fopen(path, "w");
    must(f != NULL, path);
    return f;
}

static void save(const X509 *x, const char *path) {
    FILE *f = create(path);
    must(PEM_write_X509(f, (X509 *)(uintptr_t)x), path);
    fclose(f);
}

certs *certs_new(void) {
    certs *c = calloc(1, sizeof *c);
    must(c != NULL, "memory");
    snprintf(c->dir, sizeof c->dir, "/tmp/etcdworker-certs-XXXXXX");
    must(mkdtemp(c->dir) != NULL, c->dir);
    c->ca_key = EVP_EC_gen("P-256");
    c->ca = make(c, c->ca_key, c->dir, -1, 10); /* a name that no other authority has */
    add_extension(c->ca, c->ca, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(c->ca, c->ca, NID_key_usage, "critical,keyCertSign,cRLSign");
    must(X509_sign(c->ca, c->ca_key, EVP_sha256()), "signing");
    snprintf(c->authority, sizeof c->authority, "%s/authority.pem", c->dir);
    save(c->ca, c->authority);
    return c;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info, (void)type, (void)where;
    return remove(path);
}

void certs_free(certs *c) {
    nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    X509_free(c->ca);
    EVP_PKEY_free(c->ca_key);
    free(c);
}

cert_paths certs_make(certs *c, const char *name, const char *names, int from_days, int to_days) {
    cert_paths paths;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = make(c, key, name, from_days, to_days);
    add_extension(x, c->ca, NID_ext_key_usage, "serverAuth,clientAuth");
    if (names)
        add_extension(x, c->ca, NID_subject_alt_name, names);
    must(X509_sign(x, c->ca_key, EVP_sha256()), "signing");
    snprintf(paths.cert, sizeof paths.cert, "%s/%s.pem", c->dir, name);
    snprintf(paths.key, sizeof paths.key, "%s/%s.key", c->dir, name);
    save(x, paths.cert);
    FILE *f = create(paths.key);
    must(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), paths.key);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
    return paths;
}

const char *certs_encrypt(certs *c, const char *key, const char *password) {
    FILE *in = fopen(key, "r");
    must(in != NULL, key);
    EVP_PKEY *k = PEM_read_PrivateKey(in, NULL, NULL, NULL);
    must(k != NULL, key);
    fclose(in);
    snprintf(c->written, sizeof c->written, "%s/encrypted.key", c->dir);
    FILE *out = create(c->written);
    must(PEM_write_PrivateKey(out, k, EVP_aes_256_cbc(), (const unsigned char *)password, (int)strlen(password), NULL,
                              NULL),
         c->written);
    fclose(out);
    EVP_PKEY_free(k);
    return c->written;
}

const char *certs_authority(const certs *c) {
    return c->authority;
}

const char *certs_write(certs *c, const char *name, const char *text) {
    snprintf(c->written, sizeof c->written, "%s/%s", c->dir, name);
    FILE *f = create(c->written);
    fputs(text, f);
    fclose(f);
    return c->written;
}
