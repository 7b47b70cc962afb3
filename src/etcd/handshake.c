#include "etcd/handshake.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* How long each step may take. */
#define STEP_MS 300

/* ---- a socket ---- */

/* Returns the connected socket, or -1 and errno. */
static int connect_or_close(int fd, const struct sockaddr *address, socklen_t size) {
    if (connect(fd, address, size) == 0)
        return fd;
    int problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    errno = ENAMETOOLONG;
    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 ? connect_or_close(fd, (struct sockaddr *)&address, sizeof address) : -1;
}

static int connect_tcp(const target *t) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)t->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)t->port)};
    bool is_v4 = inet_pton(AF_INET, t->address, &v4.sin_addr) == 1;
    errno = EAFNOSUPPORT;
    if (!is_v4 && inet_pton(AF_INET6, t->address, &v6.sin6_addr) != 1)
        return -1; /* an IPv6 address with a zone */
    const struct timeval limit = {.tv_usec = STEP_MS * 1000};
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* also limits connect */
    const struct sockaddr *address = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    return connect_or_close(fd, address, is_v4 ? sizeof v4 : sizeof v6);
}

static int connect_to(const target *t) {
    int fd = t->port == 0 ? connect_unix(t->address) : connect_tcp(t);
    const struct timeval limit = {.tv_usec = STEP_MS * 1000};
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
    return fd;
}

/* ---- HTTP/2 in plain text ---- */

/* The connection preface of a client, with an empty SETTINGS frame. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
#define PREFACE_LEN (sizeof preface) /* with the final NUL, which is part of the frame's header */

/* Byte 3 of a frame's header is its type; a server begins with SETTINGS. */
static bool are_settings(const unsigned char *frame, long len) {
    return len >= 4 && frame[3] == 4;
}

static bool speaks_plain_text(const target *t) {
    unsigned char frame[9];
    int fd = connect_to(t);
    if (fd < 0)
        return false;
    bool speaks = send(fd, preface, PREFACE_LEN, MSG_NOSIGNAL) == (ssize_t)PREFACE_LEN &&
                  are_settings(frame, recv(fd, frame, sizeof frame, MSG_WAITALL));
    close(fd);
    return speaks;
}

/* ---- TLS ---- */

typedef struct attempt {
    const target *target;
    const ew_options *options;
    char host[256]; /* the name that the certificate must have */
    SSL *ssl;
    char *out;
    size_t size;
} attempt;

/* Sets `host` to server_name, or to the host of "host:port" without brackets. */
static void find_host(attempt *a) {
    const char *name = ew_options_text(a->options, "server_name");
    snprintf(a->host, sizeof a->host, "%s", name[0] ? name : a->target->authority);
    char *colon = strrchr(a->host, ':'), *end = strrchr(a->host, ']');
    if (end)
        *end = '\0';
    else if (colon && strchr(a->host, ':') == colon)
        *colon = '\0';
    if (a->host[0] == '[')
        memmove(a->host, a->host + 1, strlen(a->host));
}

static void load_files(SSL_CTX *context, const ew_options *o) {
    const char *ca = ew_options_text(o, "ca_file"), *cert = ew_options_text(o, "cert_file");
    if (ca[0])
        SSL_CTX_load_verify_locations(context, ca, NULL);
    else
        SSL_CTX_set_default_verify_paths(context);
    if (cert[0]) {
        SSL_CTX_use_certificate_chain_file(context, cert);
        SSL_CTX_use_PrivateKey_file(context, ew_options_text(o, "key_file"), SSL_FILETYPE_PEM);
    }
}

/* Returns the text of OpenSSL's last error; NULL if the connection ended or timed out. */
static const char *problem(void) {
    unsigned long code = ERR_peek_last_error();
    bool lost =
        code == 0 || ERR_GET_LIB(code) == ERR_LIB_SYS || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    return lost ? NULL : ERR_reason_error_string(code);
}

static bool is_alert(void) {
    return ERR_GET_REASON(ERR_peek_last_error()) >= SSL_AD_REASON_OFFSET;
}

static void add_names(FILE *to, GENERAL_NAMES *names) {
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        char text[INET6_ADDRSTRLEN] = "";
        if (n->type == GEN_IPADD) {
            const ASN1_OCTET_STRING *ip = n->d.iPAddress;
            inet_ntop(ip->length == 4 ? AF_INET : AF_INET6, ip->data, text, sizeof text);
            fprintf(to, "%s%s", i > 0 ? ", " : "", text);
        } else if (n->type == GEN_DNS) {
            fprintf(to, "%s%.*s", i > 0 ? ", " : "", n->d.dNSName->length, (const char *)n->d.dNSName->data);
        }
    }
}

static void write_names(attempt *a, X509 *x) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    char list[100] = "";
    FILE *to = fmemopen(list, sizeof list, "w");
    if (to && names)
        add_names(to, names);
    if (to)
        fclose(to);
    GENERAL_NAMES_free(names);
    snprintf(a->out, a->size, "TLS: its certificate is for %s, not for %s", list[0] ? list : "no host", a->host);
}

/* Returns whether the server's certificate is valid and has the right name; if not, writes the reason. */
static bool check_certificate(attempt *a) {
    X509 *x = SSL_get1_peer_certificate(a->ssl);
    long result = SSL_get_verify_result(a->ssl);
    bool good = x && result == X509_V_OK;
    if (!good) {
        snprintf(a->out, a->size, "TLS: certificate verify failed: %s", X509_verify_cert_error_string(result));
    } else if (X509_check_ip_asc(x, a->host, 0) != 1 && X509_check_host(x, a->host, 0, 0, NULL) != 1) {
        write_names(a, x);
        good = false;
    }
    X509_free(x);
    return good;
}

/* With TLS 1.3, a server can refuse the client after the client has finished the handshake. So this reads once more. */
static void check_client(attempt *a) {
    unsigned char frame[9];
    ERR_clear_error();
    if (SSL_write(a->ssl, preface, (int)PREFACE_LEN) > 0 && SSL_read(a->ssl, frame, sizeof frame) > 0)
        return;
    const char *what = problem();
    if (what && is_alert())
        snprintf(a->out, a->size, "TLS: the server %s: %s",
                 ew_options_text(a->options, "cert_file")[0] ? "refuses cert_file"
                                                             : "requires a client certificate (cert_file)",
                 what);
}

static void explain_failure(attempt *a) {
    const char *what = problem();
    if (what && is_alert() && !ew_options_text(a->options, "cert_file")[0])
        snprintf(a->out, a->size, "TLS: the server refuses (it may require a client certificate, cert_file): %s", what);
    else if (what && is_alert())
        snprintf(a->out, a->size, "TLS: the server refuses: %s", what);
    else if (speaks_plain_text(a->target))
        snprintf(a->out, a->size, "TLS: the server speaks plain text");
    else if (what)
        snprintf(a->out, a->size, "TLS: %s", what);
}

static void try_tls(attempt *a) {
    if (SSL_connect(a->ssl) != 1)
        explain_failure(a);
    else if (check_certificate(a))
        check_client(a);
}

/* Finds out whether the server requires TLS although the client uses plain text: whether it answers a TLS handshake. */
static void try_plain_text(attempt *a) {
    if (SSL_connect(a->ssl) == 1 || (problem() && is_alert()))
        snprintf(a->out, a->size, "TLS: the server requires TLS, but it is off; https:// or ca_file turn it on");
}

static void try_by(attempt *a, bool tls, SSL_CTX *context, int fd) {
    static const unsigned char http2[] = "\2h2";
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* check_certificate verifies it */
    if (tls)
        load_files(context, a->options);
    a->ssl = SSL_new(context);
    if (!a->ssl)
        return;
    SSL_set_alpn_protos(a->ssl, http2, sizeof http2 - 1);
    if (SSL_set_fd(a->ssl, fd) == 1 && SSL_set_tlsext_host_name(a->ssl, a->host) == 1) {
        ERR_clear_error();
        if (tls)
            try_tls(a);
        else
            try_plain_text(a);
    }
    SSL_free(a->ssl);
}

void handshake_try(const target *t, bool tls, const ew_options *options, char *out, size_t size) {
    attempt a = {.target = t, .options = options, .out = out, .size = size};
    out[0] = '\0';
    int fd = connect_to(t);
    if (fd < 0)
        snprintf(out, size, "%s", errno == EINPROGRESS ? "no answer" : strerror(errno));
    SSL_CTX *context = fd >= 0 ? SSL_CTX_new(TLS_client_method()) : NULL;
    find_host(&a);
    if (context)
        try_by(&a, tls, context, fd);
    SSL_CTX_free(context);
    ERR_clear_error();
    if (fd >= 0)
        close(fd);
}
