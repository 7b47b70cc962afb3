/* The etcd servers of the scenarios, their keys, and the options of their clients. */
#include "alloc/scenario.h"

#include "lib/certs.h"

static etcd_server *server, *encrypted, *asking; /* the last one requires users */
static certs *authority;
static char password_file[192];

static void open_encrypted(void) {
    authority = certs_new();
    cert_paths p = certs_make(authority, "server", "IP:127.0.0.1", -1, 1);
    char cert[256], key[256];
    snprintf(cert, sizeof cert, "--cert-file=%s", p.cert);
    snprintf(key, sizeof key, "--key-file=%s", p.key);
    encrypted = etcd_server_start((const char *[]){cert, key, NULL});
    snprintf(password_file, sizeof password_file, "%s", certs_write(authority, "password", "secret"));
}

static void open_asking(void) {
    static const char *const setup[][ETCDCTL_WORDS] = {
        {"user", "add", "root:secret"}, {"role", "add", "root"}, {"user", "grant-role", "root", "root"},
        {"user", "add", "guest:guest"}, {"auth", "enable"},
    };
    /* cheap, because passwords are checked often */
    asking = etcd_server_start((const char *[]){"--bcrypt-cost=4", NULL});
    etcdctl_all(asking, setup, sizeof setup / sizeof setup[0]);
}

const char *alloc_address(void) {
    return server->address;
}

void alloc_open(void) {
    char key[64];
    static char page[40000];
    server = etcd_server_start(NULL);
    open_encrypted();
    open_asking();
    client_open(server->endpoint);
    for (int i = 0; i < ALLOC_SCAN_KEYS; i++) {
        snprintf(key, sizeof key, "/scan/%02d", i);
        client_put(key, "value");
    }
    memset(page, 'x', sizeof page); /* a value that a tick does not read */
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "/work/page/%d", i);
        client_put_slice(ew_str(key), (ew_slice){page, sizeof page}, 0);
    }
    alloc_open_pages();
    alloc_open_service();
}

void alloc_close(void) {
    alloc_close_service();
    client_close();
    etcd_server_free(server);
    etcd_server_free(encrypted);
    etcd_server_free(asking);
    certs_free(authority);
}

static ew_options *options_of(const etcd_server *s) {
    ew_options *o = ew_options_new();
    if (!o) {
        alloc_failed(EW_ERR_NO_MEMORY, "ew_options_new", &(ew_error){0});
        o = ew_options_new();
    }
    TRY(ew_options_set(o, "endpoints", s->endpoint, &err));
    return o;
}

ew_options *alloc_options(void) {
    return options_of(server);
}

ew_options *alloc_options_tls(void) {
    ew_options *o = options_of(encrypted);
    TRY(ew_options_set(o, "ca_file", certs_authority(authority), &err));
    return o;
}

ew_options *alloc_options_user(void) {
    ew_options *o = options_of(asking);
    TRY(ew_options_set(o, "user", "root", &err));
    TRY(ew_options_set(o, "password_file", password_file, &err));
    return o;
}

ew_options *alloc_options_guest(void) {
    ew_options *o = options_of(asking);
    TRY(ew_options_set(o, "user", "guest", &err));
    TRY(ew_options_set(o, "password", "guest", &err));
    return o;
}

void alloc_forget_tokens(void) {
    static const char user[] = "--user=root:secret";
    if (etcdctl(asking, NULL, 0, user, "auth", "disable", NULL) != 0 ||
        etcdctl(asking, NULL, 0, "auth", "enable", NULL) != 0)
        alloc_problem("cannot disable and enable authentication");
}
