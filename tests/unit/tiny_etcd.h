/* A minimal etcd for tests of the cores: applies serialized transactions to a few keys. */
#ifndef UNIT_TINY_ETCD_H
#define UNIT_TINY_ETCD_H

#include "etcd.pb-c.h"

#include <etcdworker/error.h>

#include <stdio.h>
#include <stdlib.h>

typedef struct tiny_kv {
    char key[96], value[96];
    int64_t create, mod, lease;
} tiny_kv;

typedef struct tiny_etcd {
    int64_t revision;
    tiny_kv kvs[512];
    size_t count;
    int64_t dead_lease; /* puts with it are refused */
    size_t max_bytes;   /* 0: no limit */
} tiny_etcd;

typedef struct tiny_answer {
    int status;
    uint8_t bytes[65536];
    size_t len;
} tiny_answer;

static inline tiny_kv *tiny_find(tiny_etcd *e, const void *key, size_t len) {
    for (size_t i = 0; i < e->count; i++) {
        if (strlen(e->kvs[i].key) == len && memcmp(e->kvs[i].key, key, len) == 0)
            return &e->kvs[i];
    }
    return NULL;
}

static inline int64_t tiny_mod(tiny_etcd *e, const char *key) {
    tiny_kv *kv = tiny_find(e, key, strlen(key));
    return kv ? kv->mod : 0;
}

static inline int64_t tiny_lease(tiny_etcd *e, const char *key) {
    tiny_kv *kv = tiny_find(e, key, strlen(key));
    return kv ? kv->lease : 0;
}

static inline const char *tiny_value(tiny_etcd *e, const char *key) {
    tiny_kv *kv = tiny_find(e, key, strlen(key));
    return kv ? kv->value : NULL;
}

static inline void tiny_set(tiny_etcd *e, int64_t revision, const void *key, size_t key_len, const void *value,
                            size_t value_len, int64_t lease) {
    tiny_kv *kv = tiny_find(e, key, key_len);
    if (!kv) {
        if (e->count == sizeof e->kvs / sizeof e->kvs[0])
            abort();
        kv = &e->kvs[e->count++];
        *kv = (tiny_kv){.create = revision};
        snprintf(kv->key, sizeof kv->key, "%.*s", (int)key_len, (const char *)key);
    }
    snprintf(kv->value, sizeof kv->value, "%.*s", (int)value_len, value_len ? (const char *)value : "");
    kv->mod = revision;
    kv->lease = lease;
}

static inline bool tiny_remove(tiny_etcd *e, const void *key, size_t len) {
    tiny_kv *kv = tiny_find(e, key, len);
    if (!kv)
        return false;
    *kv = e->kvs[--e->count];
    return true;
}

/* ---- writes of other clients ---- */

static inline int64_t tiny_put(tiny_etcd *e, const char *key, const char *value) {
    tiny_set(e, ++e->revision, key, strlen(key), value, strlen(value), 0);
    return e->revision;
}

static inline int64_t tiny_delete(tiny_etcd *e, const char *key) {
    if (tiny_remove(e, key, strlen(key)))
        e->revision++;
    return e->revision;
}

static inline int tiny_order(const char *key, ProtobufCBinaryData other) {
    size_t len = strlen(key), common = len < other.len ? len : other.len;
    int order = memcmp(key, other.data, common);
    return order != 0 ? order : (len > other.len) - (len < other.len);
}

/* Returns the newest key of a range with a mod_revision of `min` or more; NULL if there is none. */
static inline const tiny_kv *tiny_newest(const tiny_etcd *e, ProtobufCBinaryData from, ProtobufCBinaryData end,
                                         int64_t min) {
    const tiny_kv *newest = NULL;
    for (size_t i = 0; i < e->count; i++) {
        const tiny_kv *kv = &e->kvs[i];
        if (tiny_order(kv->key, from) >= 0 && tiny_order(kv->key, end) < 0 && kv->mod >= min &&
            (!newest || kv->mod > newest->mod))
            newest = kv;
    }
    return newest;
}

static inline bool tiny_holds(tiny_etcd *e, const Pb__Compare *c) {
    if (c->range_end.len > 0) /* the only supported compare of a range: all keys are older */
        return !tiny_newest(e, c->key, c->range_end, c->mod_revision);
    const tiny_kv *kv = tiny_find(e, c->key.data, c->key.len);
    switch (c->target) {
    case PB__COMPARE__COMPARE_TARGET__MOD:
        return (kv ? kv->mod : 0) == c->mod_revision;
    case PB__COMPARE__COMPARE_TARGET__CREATE:
        return (kv ? kv->create : 0) == c->create_revision;
    case PB__COMPARE__COMPARE_TARGET__LEASE:
        return (kv ? kv->lease : 0) == c->lease;
    case PB__COMPARE__COMPARE_TARGET__VALUE:
        return kv && strlen(kv->value) == c->value.len && memcmp(kv->value, c->value.data, c->value.len) == 0;
    default:
        return false;
    }
}

typedef struct tiny_reply {
    Pb__ResponseOp op;
    Pb__PutResponse put;
    Pb__DeleteRangeResponse removed;
    Pb__RangeResponse range;
    Pb__KeyValue kv, *kvs[1];
} tiny_reply;

static inline void tiny_run(tiny_etcd *e, int64_t revision, bool *changed, const Pb__RequestOp *op, tiny_reply *r) {
    pb__response_op__init(&r->op);
    if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        const Pb__PutRequest *put = op->request_put;
        int64_t lease = put->lease;
        tiny_kv *kv = tiny_find(e, put->key.data, put->key.len);
        if (put->ignore_lease && kv)
            lease = kv->lease;
        tiny_set(e, revision, put->key.data, put->key.len, put->value.data, put->value.len, lease);
        *changed = true;
        pb__put_response__init(&r->put);
        r->op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        r->op.response_put = &r->put;
    } else if (op->request_case == PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
        pb__delete_range_response__init(&r->removed);
        r->removed.deleted = tiny_remove(e, op->request_delete_range->key.data, op->request_delete_range->key.len);
        *changed |= r->removed.deleted > 0;
        r->op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        r->op.response_delete_range = &r->removed;
    } else {
        pb__range_response__init(&r->range);
        const Pb__RangeRequest *range = op->request_range;
        const tiny_kv *kv = range->range_end.len > 0
                                ? tiny_newest(e, range->key, range->range_end, range->min_mod_revision)
                                : tiny_find(e, range->key.data, range->key.len);
        if (kv) {
            pb__key_value__init(&r->kv);
            r->kv.key = (ProtobufCBinaryData){strlen(kv->key), (uint8_t *)kv->key};
            if (!op->request_range->keys_only)
                r->kv.value = (ProtobufCBinaryData){strlen(kv->value), (uint8_t *)kv->value};
            r->kv.create_revision = kv->create;
            r->kv.mod_revision = kv->mod;
            r->kv.lease = kv->lease;
            r->kvs[0] = &r->kv;
            r->range.kvs = r->kvs;
            r->range.n_kvs = 1;
        }
        r->op.response_case = PB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        r->op.response_range = &r->range;
    }
}

static inline bool tiny_lease_is_dead(const tiny_etcd *e, Pb__RequestOp **ops, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case == PB__REQUEST_OP__REQUEST_REQUEST_PUT && ops[i]->request_put->lease != 0 &&
            ops[i]->request_put->lease == e->dead_lease)
            return true;
    }
    return false;
}

/* Applies a transaction. The answer is the one that etcd would give (ETCD P13). */
static inline void tiny_txn(tiny_etcd *e, const void *bytes, size_t len, tiny_answer *out) {
    static tiny_reply replies[128];
    Pb__ResponseOp *list[128];
    out->status = EW_OK;
    out->len = 0;
    Pb__TxnRequest *txn = pb__txn_request__unpack(NULL, len, bytes);
    if (!txn) {
        out->status = EW_ERR_INVALID;
        return;
    }
    if (txn->n_compare > 128 || txn->n_success > 128 || txn->n_failure > 128)
        out->status = EW_ERR_INVALID;
    if (e->max_bytes > 0 && len > e->max_bytes)
        out->status = EW_ERR_TOO_LARGE;
    bool holds = true;
    for (size_t i = 0; i < txn->n_compare; i++)
        holds = holds && tiny_holds(e, txn->compare[i]);
    Pb__RequestOp **ops = holds ? txn->success : txn->failure;
    size_t n = holds ? txn->n_success : txn->n_failure;
    if (out->status == EW_OK && tiny_lease_is_dead(e, ops, n))
        out->status = EW_ERR_NOT_FOUND;
    if (out->status == EW_OK) {
        bool changed = false;
        for (size_t i = 0; i < n; i++) {
            tiny_run(e, e->revision + 1, &changed, ops[i], &replies[i]);
            list[i] = &replies[i].op;
        }
        e->revision += changed;
        Pb__ResponseHeader header = PB__RESPONSE_HEADER__INIT;
        header.revision = e->revision;
        Pb__TxnResponse response = PB__TXN_RESPONSE__INIT;
        response.header = &header;
        response.succeeded = holds;
        response.n_responses = n;
        response.responses = list;
        out->len = pb__txn_response__get_packed_size(&response);
        if (out->len > sizeof out->bytes)
            abort();
        pb__txn_response__pack(&response, out->bytes);
    }
    pb__txn_request__free_unpacked(txn, NULL);
}

#endif
