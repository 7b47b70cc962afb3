#include "sim/etcd_model_internal.h"

#include "core/slice.h"

#include <assert.h>
#include <stdlib.h>

const etcd_model_config etcd_model_defaults = {
    .cluster_id = 0x5eed,
    .max_txn_ops = 128,
    .max_request_bytes = 1536 * 1024,
    .batch_revisions = 1000,
    .fragment_bytes = 2048 * 1024,
    .queue_responses = 128,
    .min_lease_ttl_s = 2,
    .progress_overtakes = true,
    .silent_cancel_reason = true,
};

etcd_model *etcd_model_new(const etcd_model_config *config) {
    etcd_model *m = sim_alloc(sizeof *m);
    m->config = *config;
    sim_arena_init(&m->arena);
    m->revision = 1; /* an empty etcd has revision 1 */
    m->next_lease = 0x7000;
    sim_reserve(m->firsts, m->first_capacity, 3);
    m->firsts[0] = m->firsts[1] = m->firsts[2] = 0;
    return m;
}

void etcd_model_free(etcd_model *m) {
    if (!m)
        return;
    while (m->streams)
        etcd_model_stream_close(m->streams);
    for (size_t i = 0; i < m->record_count; i++)
        free(sim_unconst(m->records[i].value.data));
    for (size_t i = 0; i < m->key_count; i++)
        free(sim_unconst(m->keys[i].name.data));
    free(m->records);
    free(m->firsts);
    free(m->keys);
    free(m->leases);
    free(m->past_leases);
    sim_arena_fini(&m->arena);
    free(m);
}

etcd_model_answer etcd_model_call(etcd_model *m, etcd_model_method method, ew_slice request) {
    sim_arena_reset(&m->arena);
    switch (method) {
    case ETCD_MODEL_RANGE:
        return model_range_call(m, request, m->revision);
    case ETCD_MODEL_PUT:
        return model_put_call(m, request);
    case ETCD_MODEL_DELETE_RANGE:
        return model_delete_call(m, request);
    case ETCD_MODEL_TXN:
        return model_txn_call(m, request);
    case ETCD_MODEL_COMPACT:
        return model_compact_call(m, request);
    case ETCD_MODEL_LEASE_GRANT:
    case ETCD_MODEL_LEASE_REVOKE:
    case ETCD_MODEL_LEASE_KEEP_ALIVE:
    case ETCD_MODEL_LEASE_TIME_TO_LIVE:
        return model_lease_call(m, method, request);
    }
    return model_fail(EW_ERR_UNSUPPORTED, "unknown method");
}

void etcd_model_restore(etcd_model *m, int64_t revision) {
    assert(revision >= 1 && revision <= m->revision && !m->writing);
    const size_t kept = m->firsts[revision + 1];
    for (size_t i = 0; i < m->key_count; i++)
        while (m->keys[i].last > kept)
            m->keys[i].last = m->records[m->keys[i].last - 1].previous;
    while (m->record_count > kept)
        free(sim_unconst(m->records[--m->record_count].value.data));
    m->revision = revision;
    if (m->compacted > revision)
        m->compacted = revision;
    model_restore_leases(m);
}

etcd_model_answer etcd_model_stale_range(etcd_model *m, ew_slice request, int64_t revision) {
    sim_arena_reset(&m->arena);
    return model_range_call(m, request, revision);
}

void etcd_model_set_full(etcd_model *m, bool full) {
    m->full = full;
}

etcd_model_answer model_check_space(const etcd_model *m) {
    return m->full ? model_fail(EW_ERR_NO_SPACE, "etcdserver: mvcc: database space exceeded") : model_fail(EW_OK, "");
}

/* ---- keys and records ---- */

size_t model_find(const etcd_model *m, ew_slice key, bool *found) {
    size_t low = 0, high = m->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(m->keys[middle].name, key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

const etcd_model_record *etcd_model_before(const etcd_model *m, const etcd_model_record *r) {
    return r->previous ? &m->records[r->previous - 1] : NULL;
}

const etcd_model_record *model_at(const etcd_model *m, const model_key *k, int64_t revision) {
    const etcd_model_record *r = k->last ? &m->records[k->last - 1] : NULL;
    while (r && r->mod_revision > revision)
        r = etcd_model_before(m, r);
    return r && !r->deleted ? r : NULL;
}

const etcd_model_record *etcd_model_get(const etcd_model *m, ew_slice key, int64_t revision) {
    bool found;
    size_t i = model_find(m, key, &found);
    return found ? model_at(m, &m->keys[i], revision) : NULL;
}

const etcd_model_record *etcd_model_scan(const etcd_model *m, size_t *position, int64_t revision) {
    while (*position < m->key_count) {
        const etcd_model_record *r = model_at(m, &m->keys[(*position)++], revision);
        if (r)
            return r;
    }
    return NULL;
}

void model_bounds(const etcd_model *m, ew_slice key, ew_slice range_end, size_t *from, size_t *to) {
    bool found;
    *from = model_find(m, key, &found);
    if (range_end.len == 0)
        *to = *from + found;
    else if (range_end.len == 1 && *(const char *)range_end.data == 0)
        *to = m->key_count; /* "\0": every key from `key` on */
    else
        *to = model_find(m, range_end, &found);
    if (*to < *from)
        *to = *from;
}

int64_t etcd_model_revision(const etcd_model *m) {
    return m->revision;
}

int64_t etcd_model_compacted(const etcd_model *m) {
    return m->compacted;
}

const etcd_model_record *etcd_model_records(const etcd_model *m, int64_t revision, size_t *count) {
    assert(revision >= 1 && revision <= m->revision);
    *count = m->firsts[revision + 1] - m->firsts[revision];
    return m->records + m->firsts[revision];
}

/* ---- writing ---- */

void model_begin(etcd_model *m) {
    assert(!m->writing);
    m->writing = true;
}

static etcd_model_record *add_record(etcd_model *m, size_t position) {
    sim_reserve(m->records, m->record_capacity, m->record_count + 1);
    etcd_model_record *r = &m->records[m->record_count++];
    model_key *k = &m->keys[position];
    *r = (etcd_model_record){.key = k->name, .mod_revision = m->revision + 1, .previous = k->last};
    k->last = m->record_count;
    return r;
}

void model_put(etcd_model *m, ew_slice key, ew_slice value, int64_t lease) {
    bool found;
    size_t i = model_find(m, key, &found);
    if (!found) {
        sim_reserve(m->keys, m->key_capacity, m->key_count + 1);
        memmove(m->keys + i + 1, m->keys + i, (m->key_count++ - i) * sizeof *m->keys);
        m->keys[i] = (model_key){sim_copy(key), 0};
    }
    const etcd_model_record *old = model_at(m, &m->keys[i], INT64_MAX);
    int64_t created = old ? old->create_revision : m->revision + 1;
    int64_t version = old ? old->version + 1 : 1;
    etcd_model_record *r = add_record(m, i);
    r->value = sim_copy(value);
    r->create_revision = created;
    r->version = version;
    r->lease = lease;
}

size_t model_delete_range(etcd_model *m, ew_slice key, ew_slice range_end) {
    size_t from, to, deleted = 0;
    model_bounds(m, key, range_end, &from, &to);
    for (size_t i = from; i < to; i++) {
        if (!model_at(m, &m->keys[i], INT64_MAX))
            continue;
        add_record(m, i)->deleted = true;
        deleted++;
    }
    return deleted;
}

int64_t model_view(const etcd_model *m) {
    bool changed = m->writing && m->record_count > m->firsts[m->revision + 1];
    return m->revision + changed;
}

void model_commit(etcd_model *m) {
    assert(m->writing);
    bool changed = model_view(m) > m->revision;
    m->writing = false;
    if (!changed)
        return;
    m->revision++;
    sim_reserve(m->firsts, m->first_capacity, (size_t)m->revision + 2);
    m->firsts[m->revision + 1] = m->record_count;
    model_notify(m);
}

/* ---- responses ---- */

Pb__ResponseHeader *model_header(etcd_model *m, int64_t revision) {
    Pb__ResponseHeader *h = sim_arena_alloc(&m->arena, sizeof *h);
    pb__response_header__init(h);
    h->cluster_id = m->config.cluster_id;
    h->member_id = 1;
    h->revision = revision;
    h->raft_term = 2;
    return h;
}

Pb__KeyValue *model_kv(etcd_model *m, const etcd_model_record *r, bool keys_only) {
    Pb__KeyValue *kv = sim_arena_alloc(&m->arena, sizeof *kv);
    pb__key_value__init(kv);
    kv->key = slice_bytes(r->key);
    kv->create_revision = r->create_revision;
    kv->mod_revision = r->mod_revision;
    kv->version = r->version;
    kv->lease = r->lease;
    if (!keys_only)
        kv->value = slice_bytes(r->value);
    return kv;
}

etcd_model_answer model_fail(int status, const char *detail) {
    return (etcd_model_answer){.status = status, .detail = detail};
}

etcd_model_answer model_answer(etcd_model *m, const ProtobufCMessage *response) {
    return (etcd_model_answer){.status = EW_OK, .detail = "", .bytes = sim_pack(&m->arena, response)};
}
