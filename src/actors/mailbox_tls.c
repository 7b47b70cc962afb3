/* TLS of the sockets for other programs: clients need a certificate. */
#include "actors/mailbox_listening.h"

#include "etcd/file.h"
#include "etcd/pem.h"

/* TLS 1.2 and 1.3; only TLS 1.2 if the TLS library of nng has no 1.3. */
static int set_versions(nng_tls_config *tls) {
    int rv = nng_tls_config_version(tls, NNG_TLS_1_2, NNG_TLS_1_3);
    return rv == 0 ? 0 : nng_tls_config_version(tls, NNG_TLS_1_2, NNG_TLS_1_2);
}

/* The texts have been checked already, so nng refuses only types of keys that its TLS library does not support. */
static int use_texts(nng_tls_config *tls, const char *cert, const char *key, const char *ca, ew_error *err) {
    int rv = nng_tls_config_own_cert(tls, cert, key, NULL);
    if (rv != 0)
        return nng_failed(err, "TLS:", "listen_cert_file, listen_key_file", rv);
    rv = nng_tls_config_ca_chain(tls, ca, NULL);
    return rv == 0 ? EW_OK : nng_failed(err, "TLS:", "listen_ca_file", rv);
}

static int use_files(nng_tls_config *tls, const mailbox_place *place, ew_error *err) {
    const pem_file cert_file = {"listen_cert_file", place->cert_file}, key_file = {"listen_key_file", place->key_file},
                   ca_file = {"listen_ca_file", place->ca_file};
    char *cert = NULL, *key = NULL, *ca = NULL;
    int status = file_read(&cert, cert_file.option, cert_file.path, err);
    if (status == EW_OK)
        status = file_read(&key, key_file.option, key_file.path, err);
    if (status == EW_OK)
        status = file_read(&ca, ca_file.option, ca_file.path, err);
    if (status == EW_OK)
        status = pem_check_pair(cert, &cert_file, key, &key_file, err);
    if (status == EW_OK)
        status = pem_check_authorities(ca, &ca_file, err);
    if (status == EW_OK)
        status = use_texts(tls, cert, key, ca, err);
    file_free(cert);
    file_free(key);
    file_free(ca);
    return status;
}

int mailbox_make_tls(nng_tls_config **out, const mailbox_place *place, ew_error *err) {
    int rv = nng_tls_config_alloc(out, NNG_TLS_MODE_SERVER);
    if (rv == NNG_ENOTSUP)
        return ew_fail(err, EW_ERR_INVALID, "%s: this libnng was built without TLS", place->url);
    if (rv != 0)
        return nng_failed(err, "TLS for", place->url, rv);
    int status = use_files(*out, place, err);
    if (status == EW_OK &&
        ((rv = nng_tls_config_auth_mode(*out, NNG_TLS_AUTH_MODE_REQUIRED)) != 0 || (rv = set_versions(*out)) != 0))
        status = nng_failed(err, "TLS for", place->url, rv);
    if (status != EW_OK)
        nng_tls_config_free(*out);
    return status;
}

int mailbox_check_tls(const mailbox_place *place, ew_error *err) {
    nng_tls_config *tls;
    int status = mailbox_make_tls(&tls, place, err);
    if (status == EW_OK)
        nng_tls_config_free(tls);
    return status;
}
