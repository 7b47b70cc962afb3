/* Range, Put, DeleteRange and Compact, with the responses of etcd 3.4. */
#include "sim/etcd_model_internal.h"

#include "core/slice.h"

#include <stdlib.h>

static const char no_key[] = "etcdserver: key is not provided";
static const char bad_request[] = "the request is malformed";

/* ---- Range ---- */

etcd_model_answer model_check_range(const etcd_model *m, const Pb__RangeRequest *r, int64_t as_of) {
    if (r->key.len == 0)
        return model_fail(EW_ERR_INVALID, no_key);
    if (r->revision > as_of)
        return model_fail(EW_ERR_FUTURE_REVISION, "etcdserver: mvcc: required revision is a future revision");
    if (r->revision > 0 && r->revision < m->compacted)
        return model_fail(EW_ERR_COMPACTED, "etcdserver: mvcc: required revision has been compacted");
    return model_fail(EW_OK, "");
}

static bool passes(const Pb__RangeRequest *r, const etcd_model_record *kv) {
    return !((r->max_mod_revision && kv->mod_revision > r->max_mod_revision) ||
             (r->min_mod_revision && kv->mod_revision < r->min_mod_revision) ||
             (r->max_create_revision && kv->create_revision > r->max_create_revision) ||
             (r->min_create_revision && kv->create_revision < r->min_create_revision));
}

static int order_number(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

static int order_records(const Pb__RangeRequest *r, const etcd_model_record *a, const etcd_model_record *b) {
    int order = 0;
    switch (r->sort_target) {
    case PB__RANGE_REQUEST__SORT_TARGET__VERSION:
        order = order_number(a->version, b->version);
        break;
    case PB__RANGE_REQUEST__SORT_TARGET__CREATE:
        order = order_number(a->create_revision, b->create_revision);
        break;
    case PB__RANGE_REQUEST__SORT_TARGET__MOD:
        order = order_number(a->mod_revision, b->mod_revision);
        break;
    case PB__RANGE_REQUEST__SORT_TARGET__VALUE:
        order = slice_compare(a->value, b->value);
        break;
    default:
        order = slice_compare(a->key, b->key);
        break;
    }
    return r->sort_order == PB__RANGE_REQUEST__SORT_ORDER__DESCEND ? -order : order;
}

/* Insertion sort: ranges with an order are short here, and equal elements keep the order of their keys. */
static void sort_records(const Pb__RangeRequest *r, const etcd_model_record **list, size_t count) {
    if (r->sort_order == PB__RANGE_REQUEST__SORT_ORDER__NONE && r->sort_target == PB__RANGE_REQUEST__SORT_TARGET__KEY)
        return;
    for (size_t i = 1; i < count; i++) {
        const etcd_model_record *moving = list[i];
        size_t j = i;
        for (; j > 0 && order_records(r, list[j - 1], moving) > 0; j--)
            list[j] = list[j - 1];
        list[j] = moving;
    }
}

Pb__RangeResponse *model_do_range(etcd_model *m, const Pb__RangeRequest *r, int64_t as_of) {
    Pb__RangeResponse *response = sim_arena_alloc(&m->arena, sizeof *response);
    pb__range_response__init(response);
    response->header = model_header(m, as_of);
    size_t from, to, count = 0;
    model_bounds(m, slice_of(r->key), slice_of(r->range_end), &from, &to);
    const etcd_model_record **list = sim_arena_alloc(&m->arena, (to - from + 1) * sizeof *list);
    for (size_t i = from; i < to; i++) {
        const etcd_model_record *kv = model_at(m, &m->keys[i], r->revision > 0 ? r->revision : as_of);
        if (!kv)
            continue;
        response->count++; /* of the whole range, regardless of filters and limit */
        if (!r->count_only && passes(r, kv))
            list[count++] = kv;
    }
    sort_records(r, list, count);
    if (r->limit > 0 && count > (size_t)r->limit) {
        count = (size_t)r->limit;
        response->more = true;
    }
    response->kvs = sim_arena_alloc(&m->arena, (count + 1) * sizeof *response->kvs);
    response->n_kvs = count;
    for (size_t i = 0; i < count; i++)
        response->kvs[i] = model_kv(m, list[i], r->keys_only);
    return response;
}

etcd_model_answer model_range_call(etcd_model *m, ew_slice request, int64_t as_of) {
    const Pb__RangeRequest *r = pb__range_request__unpack(&m->arena.allocator, request.len, request.data);
    if (!r)
        return model_fail(EW_ERR_INVALID, bad_request);
    etcd_model_answer checked = model_check_range(m, r, as_of);
    return checked.status ? checked : model_answer(m, &model_do_range(m, r, as_of)->base);
}

/* ---- Put ---- */

etcd_model_answer model_check_put(const Pb__PutRequest *r) {
    if (r->key.len == 0)
        return model_fail(EW_ERR_INVALID, no_key);
    if (r->ignore_value && r->value.len)
        return model_fail(EW_ERR_INVALID, "etcdserver: value is provided");
    if (r->ignore_lease && r->lease)
        return model_fail(EW_ERR_INVALID, "etcdserver: lease is provided");
    return model_fail(EW_OK, "");
}

/* Checks what etcd checks only when it applies the put. */
etcd_model_answer model_check_put_state(const etcd_model *m, const Pb__PutRequest *r) {
    if ((r->ignore_value || r->ignore_lease) && !etcd_model_get(m, slice_of(r->key), INT64_MAX))
        return model_fail(EW_ERR_NOT_FOUND, "etcdserver: key not found");
    if (r->lease && !model_lease_find(m, r->lease))
        return model_fail(EW_ERR_NOT_FOUND, "etcdserver: requested lease not found");
    return model_fail(EW_OK, "");
}

Pb__PutResponse *model_do_put(etcd_model *m, const Pb__PutRequest *r) {
    Pb__PutResponse *response = sim_arena_alloc(&m->arena, sizeof *response);
    pb__put_response__init(response);
    const etcd_model_record *old = etcd_model_get(m, slice_of(r->key), INT64_MAX);
    if (old && r->prev_kv)
        response->prev_kv = model_kv(m, old, false);
    ew_slice value = r->ignore_value ? old->value : slice_of(r->value);
    model_put(m, slice_of(r->key), value, r->ignore_lease ? old->lease : r->lease);
    response->header = model_header(m, model_view(m));
    return response;
}

static bool too_large(const etcd_model *m, ew_slice request) {
    return request.len > m->config.max_request_bytes;
}

etcd_model_answer model_put_call(etcd_model *m, ew_slice request) {
    const Pb__PutRequest *r = pb__put_request__unpack(&m->arena.allocator, request.len, request.data);
    if (!r)
        return model_fail(EW_ERR_INVALID, bad_request);
    etcd_model_answer checked = model_check_put(r);
    if (checked.status == EW_OK && too_large(m, request))
        checked = model_fail(EW_ERR_TOO_LARGE, "etcdserver: request is too large");
    if (checked.status == EW_OK)
        checked = model_check_space(m);
    if (checked.status == EW_OK)
        checked = model_check_put_state(m, r);
    if (checked.status)
        return checked;
    model_begin(m);
    Pb__PutResponse *response = model_do_put(m, r);
    model_commit(m);
    return model_answer(m, &response->base);
}

/* ---- DeleteRange ---- */

Pb__DeleteRangeResponse *model_do_delete(etcd_model *m, const Pb__DeleteRangeRequest *r) {
    Pb__DeleteRangeResponse *response = sim_arena_alloc(&m->arena, sizeof *response);
    pb__delete_range_response__init(response);
    if (r->prev_kv) {
        size_t from, to;
        model_bounds(m, slice_of(r->key), slice_of(r->range_end), &from, &to);
        response->prev_kvs = sim_arena_alloc(&m->arena, (to - from + 1) * sizeof *response->prev_kvs);
        for (size_t i = from; i < to; i++) {
            const etcd_model_record *old = model_at(m, &m->keys[i], INT64_MAX);
            if (old)
                response->prev_kvs[response->n_prev_kvs++] = model_kv(m, old, false);
        }
    }
    response->deleted = (int64_t)model_delete_range(m, slice_of(r->key), slice_of(r->range_end));
    response->header = model_header(m, model_view(m));
    return response;
}

etcd_model_answer model_delete_call(etcd_model *m, ew_slice request) {
    const Pb__DeleteRangeRequest *r = pb__delete_range_request__unpack(&m->arena.allocator, request.len, request.data);
    if (!r)
        return model_fail(EW_ERR_INVALID, bad_request);
    if (r->key.len == 0)
        return model_fail(EW_ERR_INVALID, no_key);
    model_begin(m);
    Pb__DeleteRangeResponse *response = model_do_delete(m, r);
    model_commit(m);
    return model_answer(m, &response->base);
}

/* ---- Compact ---- */

etcd_model_answer model_compact_call(etcd_model *m, ew_slice request) {
    const Pb__CompactionRequest *r = pb__compaction_request__unpack(&m->arena.allocator, request.len, request.data);
    if (!r)
        return model_fail(EW_ERR_INVALID, bad_request);
    if (r->revision <= m->compacted)
        return model_fail(EW_ERR_COMPACTED, "etcdserver: mvcc: required revision has been compacted");
    if (r->revision > m->revision)
        return model_fail(EW_ERR_FUTURE_REVISION, "etcdserver: mvcc: required revision is a future revision");
    m->compacted = r->revision;
    Pb__CompactionResponse response = PB__COMPACTION_RESPONSE__INIT;
    response.header = model_header(m, m->revision);
    return model_answer(m, &response.base);
}
