#include "lib/submitters.h"

#include "lib/process.h"

#include <etcdworker/nng.h>

#include <inttypes.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    REPLY_LIMIT_MS = 90000, /* far longer than any fault */
    SILENCE_MS = 5000,      /* then the submit is sent once more, on a new socket if this one has no connection */
    RECONNECT_MS = 20,
    AGAIN_MS = 20, /* the wait before a submit that was not decided is sent again */
};

/* The compare of an operation. */
typedef enum operation_kind {
    OPERATION_PLAIN,
    OPERATION_ABSENT,  /* its own key is absent; a copy that is evaluated after the first was committed finds the key */
    OPERATION_REFUSED, /* a key that no client puts has a value */
    OPERATION_KINDS,
} operation_kind;

typedef struct operation {
    operation_kind kind;
    int status;
    int64_t revision;
} operation;

typedef struct requester {
    submitters *all;
    unsigned number;
    pthread_t thread;
    nng_socket req;
    atomic_int pipes; /* connections of `req` */
    operation *operations;
    size_t count, capacity;
    _Atomic uint64_t replies;
} requester;

struct submitters {
    char prefix[64];
    char urls[SUBMITTERS_URLS_MAX][160];
    unsigned count;
    atomic_bool stopping;
    requester *clients;
};

void submitters_serve(ew_options *o, const char *directory, char *url, size_t size) {
    ew_error err = {0};
    mkdir(directory, 0700);
    snprintf(url, size, "ipc://%s/submit", directory);
    if (ew_options_set(o, "submit", "on", &err) != EW_OK || ew_options_set(o, "submit_url", url, &err) != EW_OK)
        process_die("%s", err.detail);
}

/* ---- one client ---- */

static void key_of(const requester *c, size_t number, char *out, size_t size) {
    snprintf(out, size, "%s/again/%u/%zu", c->all->prefix, c->number, number);
}

static void *pack(const requester *c, size_t number, operation_kind kind, size_t *len) {
    char key[128], never[96];
    void *body = NULL;
    key_of(c, number, key, sizeof key);
    snprintf(never, sizeof never, "%s/never", c->all->prefix);
    ew_submit *s = ew_submit_new();
    ew_submit_put(s, ew_str(key), EW_STR("x"));
    if (kind == OPERATION_ABSENT)
        ew_submit_if_absent(s, ew_str(key));
    else if (kind == OPERATION_REFUSED)
        ew_submit_if_value(s, ew_str(never), EW_STR("x"));
    if (ew_submit_pack(s, &body, len) != EW_OK)
        process_die("out of memory");
    ew_submit_free(s);
    return body;
}

static void count_pipes(nng_pipe pipe, nng_pipe_ev event, void *arg) {
    (void)pipe;
    requester *c = arg;
    c->pipes += event == NNG_PIPE_EV_ADD_POST ? 1 : -1;
}

static void dial(requester *c) {
    if (nng_req0_open(&c->req) != 0)
        process_die("cannot open a REQ socket");
    nng_socket_set_ms(c->req, NNG_OPT_REQ_RESENDTIME, SUBMITTERS_RESEND_MS);
    nng_socket_set_ms(c->req, NNG_OPT_RECVTIMEO, SILENCE_MS);
    nng_socket_set_ms(c->req, NNG_OPT_SENDTIMEO, SILENCE_MS);
    nng_socket_set_ms(c->req, NNG_OPT_RECONNMINT, RECONNECT_MS);
    nng_socket_set_ms(c->req, NNG_OPT_RECONNMAXT, RECONNECT_MS);
    nng_pipe_notify(c->req, NNG_PIPE_EV_ADD_POST, count_pipes, c);
    nng_pipe_notify(c->req, NNG_PIPE_EV_REM_POST, count_pipes, c);
    const char(*urls)[160] = c->all->urls;
    for (int i = 0; i < SUBMITTERS_URLS_MAX && urls[i][0] != '\0'; i++)
        if (nng_dial(c->req, urls[i], NULL, NNG_FLAG_NONBLOCK) != 0)
            process_die("cannot dial %s", urls[i]);
}

/* A dialer of nng 1.5 never dials again if its connection was closed during nng's handshake, as by a worker that was
 * killed (<etcdworker/nng.h>). */
static void dial_again(requester *c) {
    if (c->pipes > 0)
        return;
    nng_close(c->req);
    dial(c);
}

/* Returns the error of nng. */
static int ask_nng(requester *c, const void *body, size_t len, nng_msg **out) {
    int rv = nng_send(c->req, (void *)(uintptr_t)body, len, 0);
    return rv == 0 ? nng_recvmsg(c->req, out, 0) : rv;
}

static bool ask(requester *c, const void *body, size_t len, ew_submit_reply *out) {
    nng_msg *m;
    int rv = ask_nng(c, body, len, &m);
    for (int silent_ms = SILENCE_MS; rv == NNG_ETIMEDOUT && silent_ms < REPLY_LIMIT_MS; silent_ms += SILENCE_MS) {
        dial_again(c);
        rv = ask_nng(c, body, len, &m);
    }
    if (rv != 0)
        return false;
    int status = ew_submit_reply_unpack(nng_msg_body(m), nng_msg_len(m), out);
    nng_msg_free(m);
    return status == EW_OK;
}

/* Sends the same submit again until it is decided. */
static operation carry_out(requester *c, size_t number, operation_kind kind) {
    size_t len;
    void *body = pack(c, number, kind, &len);
    operation op = {.kind = kind, .status = EW_ERR_TIMEOUT};
    ew_submit_reply reply = {.size = sizeof reply};
    while (ask(c, body, len, &reply)) {
        op.status = reply.status;
        op.revision = reply.revision;
        bool undecided = reply.status == EW_ERR_UNKNOWN_OUTCOME || reply.status == EW_ERR_UNAVAILABLE ||
                         reply.status == EW_ERR_BUSY || reply.status == EW_ERR_NO_MEMORY;
        if (!undecided)
            break;
        nng_msleep(AGAIN_MS);
    }
    free(body);
    return op;
}

static void note(requester *c, operation op) {
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 64;
        c->operations = realloc(c->operations, c->capacity * sizeof *c->operations);
        if (!c->operations)
            process_die("out of memory");
    }
    c->operations[c->count++] = op;
    c->replies++;
}

static void *live(void *arg) {
    requester *c = arg;
    while (!c->all->stopping) {
        operation op = carry_out(c, c->count, (operation_kind)(c->count % OPERATION_KINDS));
        note(c, op);
        if (op.status == EW_ERR_TIMEOUT)
            break;
    }
    nng_close(c->req);
    return NULL;
}

static void start(submitters *s, unsigned number) {
    requester *c = &s->clients[number];
    c->all = s;
    c->number = number;
    dial(c);
    if (pthread_create(&c->thread, NULL, live, c) != 0)
        process_die("cannot create a thread");
}

submitters *submitters_open(const char *const *urls, const char *prefix, unsigned count) {
    submitters *s = calloc(1, sizeof *s);
    if (!s || !(s->clients = calloc(count, sizeof *s->clients)))
        process_die("out of memory");
    s->count = count;
    snprintf(s->prefix, sizeof s->prefix, "%s", prefix);
    for (int i = 0; i < SUBMITTERS_URLS_MAX && urls[i]; i++)
        snprintf(s->urls[i], sizeof s->urls[i], "%s", urls[i]);
    for (unsigned i = 0; i < count; i++)
        start(s, i);
    return s;
}

uint64_t submitters_replies(submitters *s) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->count; i++)
        sum += s->clients[i].replies;
    return sum;
}

uint64_t submitters_least(submitters *s) {
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < s->count; i++)
        if (s->clients[i].replies < least)
            least = s->clients[i].replies;
    return least;
}

/* ---- checking ---- */

/* Reads a key's version and mod_revision from etcd; both are 0 if it is absent. */
static bool look_up(ew_client *client, const char *key, int64_t *version, int64_t *revision) {
    ew_result *r;
    ew_error err = {0};
    *version = *revision = 0;
    if (ew_client_get(client, ew_keys_one(ew_str(key)), NULL, &r, &err) != EW_OK)
        return false;
    if (ew_result_count(r) == 1) {
        *version = ew_result_at(r, 0)->version;
        *revision = ew_result_at(r, 0)->mod_revision;
    }
    ew_result_free(r);
    return true;
}

static bool is_true(const requester *c, size_t number, ew_client *client, char *problem, size_t size) {
    const operation *op = &c->operations[number];
    char key[128];
    int64_t version, revision;
    key_of(c, number, key, sizeof key);
    if (!look_up(client, key, &version, &revision)) {
        snprintf(problem, size, "cannot read %s", key);
        return false;
    }
    bool good = op->kind == OPERATION_REFUSED ? op->status == EW_ERR_REFUSED && version == 0
                                              : op->status == EW_OK && version == 1 && revision == op->revision;
    if (!good)
        snprintf(problem, size, "%s: the reply was %s at %" PRId64 ", put %" PRId64 " times, last at %" PRId64, key,
                 ew_errname(op->status), op->revision, version, revision);
    return good;
}

bool submitters_close(submitters *s, ew_client *client, char *problem, size_t size) {
    bool good = true;
    s->stopping = true;
    for (unsigned i = 0; i < s->count; i++)
        pthread_join(s->clients[i].thread, NULL);
    for (unsigned i = 0; i < s->count; i++) {
        requester *c = &s->clients[i];
        for (size_t n = 0; n < c->count && good; n++)
            good = is_true(c, n, client, problem, size);
        free(c->operations);
    }
    free(s->clients);
    free(s);
    return good;
}
