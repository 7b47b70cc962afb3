/* Leases in simulated time. */
#include "sim/etcd_model_internal.h"

#include "core/slice.h"

static const char not_found[] = "etcdserver: requested lease not found";

model_lease *model_lease_find(const etcd_model *m, int64_t id) {
    for (size_t i = 0; i < m->lease_count; i++)
        if (m->leases[i].id == id)
            return &m->leases[i];
    return NULL;
}

bool etcd_model_lease_alive(const etcd_model *m, int64_t lease) {
    return model_lease_find(m, lease) != NULL;
}

/* Deletes a lease's keys in one transaction, in key order. */
static void end_lease(etcd_model *m, model_lease *lease) {
    int64_t id = lease->id;
    sim_reserve(m->past_leases, m->past_lease_capacity, m->past_lease_count + 1);
    model_lease *past = &m->past_leases[m->past_lease_count++];
    *past = *lease;
    *lease = m->leases[--m->lease_count];
    model_begin(m);
    for (size_t i = 0; i < m->key_count; i++) {
        const etcd_model_record *kv = model_at(m, &m->keys[i], INT64_MAX);
        if (kv && kv->lease == id)
            model_delete_range(m, kv->key, (ew_slice){0});
    }
    model_commit(m);
    past->ended = m->revision;
}

bool etcd_model_lease_lose(etcd_model *m, int64_t lease) {
    sim_arena_reset(&m->arena);
    model_lease *found = model_lease_find(m, lease);
    if (found)
        end_lease(m, found);
    return found != NULL;
}

int64_t etcd_model_next_expiry_ms(const etcd_model *m) {
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < m->lease_count; i++)
        if (m->leases[i].expires_ms < next)
            next = m->leases[i].expires_ms;
    return next;
}

/* Removes leases that were granted after the restored revision, and brings back those that ended after it. */
void model_restore_leases(etcd_model *m) {
    size_t kept = 0;
    for (size_t i = 0; i < m->lease_count; i++)
        if (m->leases[i].granted <= m->revision)
            m->leases[kept++] = m->leases[i];
    for (size_t i = m->past_lease_count; i-- > 0;) {
        model_lease past = m->past_leases[i];
        if (past.ended <= m->revision)
            continue;
        m->past_leases[i] = m->past_leases[--m->past_lease_count];
        sim_reserve(m->leases, m->lease_capacity, kept + 1);
        if (past.granted <= m->revision)
            m->leases[kept++] = past;
    }
    m->lease_count = kept;
    for (size_t i = 0; i < kept; i++)
        m->leases[i].expires_ms = m->now_ms + m->leases[i].ttl_s * 1000;
}

void etcd_model_advance(etcd_model *m, int64_t now_ms) {
    m->now_ms = now_ms;
    for (;;) {
        model_lease *first = NULL;
        for (size_t i = 0; i < m->lease_count; i++)
            if (m->leases[i].expires_ms <= now_ms && (!first || m->leases[i].expires_ms < first->expires_ms))
                first = &m->leases[i];
        if (!first)
            return;
        sim_arena_reset(&m->arena);
        end_lease(m, first);
    }
}

static etcd_model_answer grant(etcd_model *m, const Pb__LeaseGrantRequest *r) {
    if (r->ttl > 9000000000)
        return model_fail(EW_ERR_INVALID, "etcdserver: too large lease TTL");
    if (r->id && model_lease_find(m, r->id))
        return model_fail(EW_ERR_INVALID, "etcdserver: lease already exists");
    etcd_model_answer checked = model_check_space(m);
    if (checked.status)
        return checked;
    int64_t ttl_s = r->ttl < m->config.min_lease_ttl_s ? m->config.min_lease_ttl_s : r->ttl;
    sim_reserve(m->leases, m->lease_capacity, m->lease_count + 1);
    model_lease *lease = &m->leases[m->lease_count++];
    *lease = (model_lease){r->id ? r->id : m->next_lease++, ttl_s, m->now_ms + ttl_s * 1000, m->revision};
    Pb__LeaseGrantResponse response = PB__LEASE_GRANT_RESPONSE__INIT;
    response.header = model_header(m, m->revision);
    response.id = lease->id;
    response.ttl = ttl_s;
    return model_answer(m, &response.base);
}

static etcd_model_answer revoke(etcd_model *m, const Pb__LeaseRevokeRequest *r) {
    model_lease *lease = model_lease_find(m, r->id);
    if (!lease)
        return model_fail(EW_ERR_NOT_FOUND, not_found);
    end_lease(m, lease);
    Pb__LeaseRevokeResponse response = PB__LEASE_REVOKE_RESPONSE__INIT;
    response.header = model_header(m, m->revision);
    return model_answer(m, &response.base);
}

/* An unknown lease is not an error here: its TTL is 0. */
static etcd_model_answer keep_alive(etcd_model *m, const Pb__LeaseKeepAliveRequest *r) {
    model_lease *lease = model_lease_find(m, r->id);
    Pb__LeaseKeepAliveResponse response = PB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    response.header = model_header(m, m->revision);
    response.id = r->id;
    if (lease) {
        lease->expires_ms = m->now_ms + lease->ttl_s * 1000;
        response.ttl = lease->ttl_s;
    }
    return model_answer(m, &response.base);
}

static etcd_model_answer time_to_live(etcd_model *m, const Pb__LeaseTimeToLiveRequest *r) {
    model_lease *lease = model_lease_find(m, r->id);
    Pb__LeaseTimeToLiveResponse response = PB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    response.header = model_header(m, m->revision);
    response.id = r->id;
    response.ttl = lease ? (lease->expires_ms - m->now_ms) / 1000 : -1;
    response.grantedttl = lease ? lease->ttl_s : 0;
    response.keys = sim_arena_alloc(&m->arena, (m->key_count + 1) * sizeof *response.keys);
    for (size_t i = 0; lease && r->keys && i < m->key_count; i++) {
        const etcd_model_record *kv = model_at(m, &m->keys[i], INT64_MAX);
        if (kv && kv->lease == r->id)
            response.keys[response.n_keys++] = slice_bytes(kv->key);
    }
    return model_answer(m, &response.base);
}

etcd_model_answer model_lease_call(etcd_model *m, etcd_model_method method, ew_slice request) {
    ProtobufCAllocator *a = &m->arena.allocator;
    void *r = NULL;
    switch (method) {
    case ETCD_MODEL_LEASE_GRANT:
        r = pb__lease_grant_request__unpack(a, request.len, request.data);
        return r ? grant(m, r) : model_fail(EW_ERR_INVALID, "the request is malformed");
    case ETCD_MODEL_LEASE_REVOKE:
        r = pb__lease_revoke_request__unpack(a, request.len, request.data);
        return r ? revoke(m, r) : model_fail(EW_ERR_INVALID, "the request is malformed");
    case ETCD_MODEL_LEASE_KEEP_ALIVE:
        r = pb__lease_keep_alive_request__unpack(a, request.len, request.data);
        return r ? keep_alive(m, r) : model_fail(EW_ERR_INVALID, "the request is malformed");
    default:
        r = pb__lease_time_to_live_request__unpack(a, request.len, request.data);
        return r ? time_to_live(m, r) : model_fail(EW_ERR_INVALID, "the request is malformed");
    }
}
