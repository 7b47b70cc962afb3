#include "etcd/denied.h"
#include "etcd/method.h"

#include "core/slice.h"
#include "etcd.pb-c.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

/* How many bytes an error shows: of one key, and of all keys together. */
#define KEY_SHOWN  64
#define TEXT_SHOWN 180

typedef struct list {
    char *out;
    size_t size, used;
    size_t keys, left_out;
} list;

static void add(list *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(list *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->out + l->used, l->size - l->used, format, args);
    va_end(args);
    if (n > 0)
        l->used += (size_t)n < l->size - l->used ? (size_t)n : l->size - l->used - 1;
}

static void add_bytes(list *l, ew_slice s) {
    add(l, "\"");
    for (size_t i = 0; i < s.len && i < KEY_SHOWN; i++) {
        unsigned char c = ((const unsigned char *)s.data)[i];
        add(l, isprint(c) && c != '"' && c != '\\' ? "%c" : "\\x%02x", c);
    }
    add(l, s.len > KEY_SHOWN ? "...\"" : "\"");
}

static void add_keys(list *l, const char *verb, ew_slice key, ew_slice end) {
    if (l->used > TEXT_SHOWN) {
        l->left_out++;
        return;
    }
    add(l, "%s%s ", l->keys++ == 0 ? ": " : ", ", verb);
    add_bytes(l, key);
    if (end.len == 1 && *(const char *)end.data == '\0') {
        add(l, " to the last key");
    } else if (end.len > 0) {
        add(l, " to ");
        add_bytes(l, end);
    }
}

static void add_range(list *l, const Pb__RangeRequest *r) {
    add_keys(l, "get", slice_of(r->key), slice_of(r->range_end));
}

static void add_put(list *l, const Pb__PutRequest *r) {
    add_keys(l, "put", slice_of(r->key), (ew_slice){0});
}

static void add_delete(list *l, const Pb__DeleteRangeRequest *r) {
    add_keys(l, "delete", slice_of(r->key), slice_of(r->range_end));
}

static void add_txn(list *l, const Pb__TxnRequest *r);

static void add_ops(list *l, Pb__RequestOp *const *ops, size_t count) {
    for (size_t i = 0; i < count; i++) {
        switch (ops[i]->request_case) {
        case PB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            add_range(l, ops[i]->request_range);
            break;
        case PB__REQUEST_OP__REQUEST_REQUEST_PUT:
            add_put(l, ops[i]->request_put);
            break;
        case PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            add_delete(l, ops[i]->request_delete_range);
            break;
        case PB__REQUEST_OP__REQUEST_REQUEST_TXN:
            add_txn(l, ops[i]->request_txn);
            break;
        default:
            break;
        }
    }
}

/* etcd checks both branches and does not report which key was denied. */
static void add_txn(list *l, const Pb__TxnRequest *r) {
    add_ops(l, r->success, r->n_success);
    add_ops(l, r->failure, r->n_failure);
    for (size_t i = 0; i < r->n_compare; i++)
        add_keys(l, "compare", slice_of(r->compare[i]->key), slice_of(r->compare[i]->range_end));
}

static const ProtobufCMessageDescriptor *type_of(etcd_method method) {
    switch (method) {
    case ETCD_RANGE:
    case ETCD_RANGE_SERIALIZABLE:
        return &pb__range_request__descriptor;
    case ETCD_PUT:
        return &pb__put_request__descriptor;
    case ETCD_DELETE_RANGE:
        return &pb__delete_range_request__descriptor;
    case ETCD_TXN:
        return &pb__txn_request__descriptor;
    default:
        return NULL;
    }
}

static void add_request(list *l, etcd_method method, const void *request) {
    if (method == ETCD_RANGE || method == ETCD_RANGE_SERIALIZABLE)
        add_range(l, request);
    else if (method == ETCD_PUT)
        add_put(l, request);
    else if (method == ETCD_DELETE_RANGE)
        add_delete(l, request);
    else
        add_txn(l, request);
}

void denied_write(char *out, size_t size, const char *text, etcd_method method, ew_slice request) {
    list l = {.out = out, .size = size};
    const ProtobufCMessageDescriptor *type = type_of(method);
    ProtobufCMessage *m = type ? protobuf_c_message_unpack(type, NULL, request.len, request.data) : NULL;
    add(&l, "%s", text);
    if (!type)
        add(&l, ": %s", strrchr(method_get(method)->path, '/') + 1);
    if (!m)
        return;
    add_request(&l, method, m);
    if (l.left_out > 0)
        add(&l, " and %zu more", l.left_out);
    protobuf_c_message_free_unpacked(m, NULL);
}

void denied_write_watch(char *out, size_t size, const char *text, ew_slice key, ew_slice end) {
    list l = {.out = out, .size = size};
    add(&l, "%s", text);
    add_keys(&l, "watch", key, end);
}

void denied_write_range(char *out, size_t size, ew_slice key, ew_slice end) {
    list l = {.out = out, .size = size};
    add_bytes(&l, key);
    add(&l, ", ");
    add_bytes(&l, end);
}
