/* Invalid responses. Only responses that a client can recognise as invalid: a wrong but valid value, or a list that
 * lost its end, cannot be noticed by a client; TCP and TLS exclude them. */
#include "sim/network_internal.h"

#include <stdlib.h>

/* Makes the bytes too short, empty, or malformed. */
static void damage(ew_sim *s, ew_slice *bytes) {
    int64_t how = sim_between(&s->random, 0, 2);
    if (how == 0)
        bytes->len = 0;
    else if (how == 1)
        bytes->len = 1; /* a field without its value */
    else
        *(uint8_t *)sim_unconst(bytes->data) = 0x07; /* a wire type that does not exist */
}

static void spoil_header(ew_sim *s, Pb__ResponseHeader **header) {
    if (!*header || sim_chance(&s->random, 500))
        *header = NULL;
    else if (sim_chance(&s->random, 500))
        (*header)->cluster_id = sim_between(&s->random, 0, 1) * 0xbad;
    else
        (*header)->revision = -1;
}

/* Gives fewer responses than operations, a response of another type, or one of another key. */
static void spoil_txn(ew_sim *s, Pb__TxnResponse *r) {
    int64_t how = sim_between(&s->random, 0, 3);
    Pb__ResponseOp *op = r->n_responses ? r->responses[sim_between(&s->random, 0, (int64_t)r->n_responses - 1)] : NULL;
    Pb__RangeResponse *range =
        op && op->response_case == PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ? op->response_range : NULL;
    if (!op || how == 0)
        spoil_header(s, &r->header);
    else if (how == 1)
        r->n_responses = (size_t)sim_between(&s->random, 0, (int64_t)r->n_responses - 1);
    else if (how == 2 || !range || range->n_kvs == 0)
        op->response_case = PB__RESPONSE_OP__RESPONSE__NOT_SET;
    else if (sim_chance(&s->random, 500))
        range->kvs[0]->key.len--;
    else
        range->kvs[0]->mod_revision = 0;
}

/* Gives keys out of order, keys without a revision, or no keys although `more` is set. */
static void spoil_range(ew_sim *s, Pb__RangeResponse *r) {
    int64_t how = sim_between(&s->random, 0, 3);
    if (r->n_kvs < 2 || how == 0) {
        spoil_header(s, &r->header);
    } else if (how == 1) {
        Pb__KeyValue *first = r->kvs[0];
        r->kvs[0] = r->kvs[r->n_kvs - 1];
        r->kvs[r->n_kvs - 1] = first;
    } else if (how == 2) {
        r->kvs[sim_between(&s->random, 0, (int64_t)r->n_kvs - 1)]->mod_revision = 0;
    } else {
        r->n_kvs = 0;
        r->more = true;
    }
}

/* Gives events without a revision, without a key, or of an unknown type. */
static void spoil_watch(ew_sim *s, Pb__WatchResponse *r) {
    int64_t how = sim_between(&s->random, 0, 3);
    Pb__Event *e = r->n_events ? r->events[sim_between(&s->random, 0, (int64_t)r->n_events - 1)] : NULL;
    if (!e || how == 0)
        spoil_header(s, &r->header);
    else if (how == 1)
        e->kv->mod_revision = -sim_between(&s->random, 0, 1);
    else if (how == 2)
        e->kv->key.len = 0;
    else
        e->type = (Pb__Event__EventType)7;
}

void sim_spoil(ew_sim *s, const ProtobufCMessageDescriptor *kind, ew_slice *bytes) {
    if (bytes->len == 0)
        return;
    sim_arena_reset(&s->scratch);
    ProtobufCMessage *m = kind ? protobuf_c_message_unpack(kind, &s->scratch.allocator, bytes->len, bytes->data) : NULL;
    if (!m || sim_chance(&s->random, 500)) {
        damage(s, bytes);
        return;
    }
    if (kind == &pb__txn_response__descriptor)
        spoil_txn(s, (Pb__TxnResponse *)m);
    else if (kind == &pb__range_response__descriptor)
        spoil_range(s, (Pb__RangeResponse *)m);
    else
        spoil_watch(s, (Pb__WatchResponse *)m);
    free(sim_unconst(bytes->data));
    *bytes = sim_copy(sim_pack(&s->scratch, m));
}
