/* An nng application that submits groups to a worker through one REQ socket, one after the other. */
#ifndef TESTS_LIB_REQUESTER_H
#define TESTS_LIB_REQUESTER_H

#include "lib/scenario.h"

#include <etcdworker/nng.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>

/* `resend_ms`: the time after which an unanswered request is sent again; 0: nng's default, one minute. */
static inline nng_socket requester_dial(const char *url, nng_duration resend_ms) {
    nng_socket req;
    assert_int_equal(nng_req0_open(&req), 0);
    assert_int_equal(nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, ENV_WAIT_MS), 0);
    assert_int_equal(nng_socket_set_ms(req, NNG_OPT_SENDTIMEO, ENV_WAIT_MS), 0);
    if (resend_ms > 0)
        assert_int_equal(nng_socket_set_ms(req, NNG_OPT_REQ_RESENDTIME, resend_ms), 0);
    assert_int_equal(nng_dial(req, url, NULL, 0), 0);
    return req;
}

/* A packed submit. The caller frees `data`. */
typedef struct body {
    void *data;
    size_t size;
} body;

/* Packs the submit and frees it. */
static inline body pack_submit(ew_submit *s) {
    body b;
    assert_int_equal(ew_submit_pack(s, &b.data, &b.size), EW_OK);
    ew_submit_free(s);
    return b;
}

static inline ew_submit *put_of(const char *key, const char *value) {
    ew_submit *s = ew_submit_new();
    assert_non_null(s);
    ew_submit_put(s, ew_str(key), ew_str(value));
    return s;
}

static inline ew_submit *put_by(const char *key, const char *client, uint64_t sequence) {
    ew_submit *s = put_of(key, "x");
    assert_int_equal(ew_submit_identity(s, ew_str(client), sequence), EW_OK);
    return s;
}

static inline void send_body(nng_socket req, body b) {
    assert_int_equal(nng_send(req, b.data, b.size, 0), 0);
}

/* Waits for the reply for at most the socket's time. Returns whether it came. */
static inline bool try_receive(nng_socket req, ew_submit_reply *reply) {
    nng_msg *m;
    int rv = nng_recvmsg(req, &m, 0);
    if (rv == NNG_ETIMEDOUT)
        return false;
    assert_int_equal(rv, 0);
    *reply = (ew_submit_reply){.size = sizeof *reply};
    assert_int_equal(ew_submit_reply_unpack(nng_msg_body(m), nng_msg_len(m), reply), EW_OK);
    nng_msg_free(m);
    return true;
}

static inline ew_submit_reply receive(nng_socket req) {
    ew_submit_reply reply;
    assert_true(try_receive(req, &reply));
    return reply;
}

static inline ew_submit_reply ask(nng_socket req, body b) {
    send_body(req, b);
    return receive(req);
}

/* Sends the submit and frees it. */
static inline void send_submit(nng_socket req, ew_submit *s) {
    body b = pack_submit(s);
    send_body(req, b);
    free(b.data);
}

static inline ew_submit_reply ask_once(nng_socket req, ew_submit *s) {
    send_submit(req, s);
    return receive(req);
}

/* Asserts that the key was put once, at the revision of the reply. */
static inline void assert_once(const char *key, const ew_submit_reply *r) {
    assert_string_equal(ew_errname(r->status), "EW_OK");
    client_kv kv = client_get(key);
    assert_true(kv.present);
    assert_int_equal(kv.version, 1);
    assert_int_equal(kv.mod_revision, r->revision);
}

#endif
