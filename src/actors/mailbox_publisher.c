#include "actors/mailbox_listening.h"

#include <nng/protocol/pubsub0/pub.h>
#include <stdlib.h>

struct publisher {
    nng_socket pub;
    listening *served;
};

int publisher_open(publisher **out, const mailbox_place *place, ew_error *err) {
    enum { SUBSCRIBER_BYTES = 64 }; /* subscribers send no messages */
    *out = NULL;
    publisher *p = calloc(1, sizeof *p);
    if (!p)
        return ew_fail(err, EW_ERR_NO_MEMORY, "publisher at %s", place->url);
    int rv = nng_pub0_open(&p->pub);
    if (rv != 0) {
        free(p);
        return nng_failed(err, "publisher at", place->url, rv);
    }
    int status = listening_open(&p->served, p->pub, place, false, SUBSCRIBER_BYTES, err);
    if (status != EW_OK) {
        publisher_close(p);
        return status;
    }
    *out = p;
    return EW_OK;
}

listening *publisher_served(const publisher *p) {
    return p ? p->served : NULL;
}

void publisher_send(publisher *p, ew_slice body) {
    nng_msg *msg;
    if (nng_msg_alloc(&msg, body.len) != 0)
        return;
    memcpy(nng_msg_body(msg), body.data, body.len);
    if (nng_sendmsg(p->pub, msg, NNG_FLAG_NONBLOCK) != 0)
        nng_msg_free(msg);
}

void publisher_close(publisher *p) {
    if (!p)
        return;
    if (!mailbox_close_socket(p->pub, p)) {
        listening_set_log(p->served, NULL);
        return;
    }
    listening_free(p->served);
    free(p);
}
