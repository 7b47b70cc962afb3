/* The cluster: the status of a member, and the list of members. */
#include "etcd/blocking.h"

#include "core/argument.h"

#include <stdio.h>
#include <stdlib.h>

ew_status ew_client_status(ew_client *client, ew_member_status *out, ew_error *err) {
    if (ARGUMENT_MISSING(client, err) || ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    if (out->size == 0)
        return ew_fail(err, EW_ERR_INVALID, "ew_member_status: size is not set");
    Pb__StatusRequest request = PB__STATUS_REQUEST__INIT;
    Pb__StatusResponse *a;
    int status = blocking_request(client, ETCD_STATUS, &request, &pb__status_response__descriptor, &a, err);
    if (status != EW_OK)
        return status;
    ew_member_status s = {.size = out->size,
                          .cluster_id = a->header->cluster_id,
                          .member_id = a->header->member_id,
                          .leader_id = a->leader,
                          .revision = a->header->revision,
                          .db_bytes = a->dbsize,
                          .db_bytes_in_use = a->dbsizeinuse,
                          .raft_term = a->raftterm,
                          .raft_index = a->raftindex,
                          .raft_applied_index = a->raftappliedindex,
                          .is_learner = a->islearner,
                          .has_errors = a->n_errors > 0};
    if (s.revision <= 0 || s.db_bytes < 0 || s.db_bytes_in_use < 0) {
        pb__status_response__free_unpacked(a, NULL);
        return ew_fail(err, EW_ERR_BAD_ANSWER, "status: invalid response");
    }
    snprintf(s.version, sizeof s.version, "%s", a->version);
    memcpy(out, &s, s.size < sizeof s ? s.size : sizeof s);
    pb__status_response__free_unpacked(a, NULL);
    return EW_OK;
}

struct ew_members {
    Pb__MemberListResponse *answer;
    size_t count;
    const char **urls; /* of all members; each list ends with NULL */
    ew_member list[];
};

static const char **copy_urls(const char **to, char *const *from, size_t count) {
    for (size_t i = 0; i < count; i++)
        *to++ = from[i];
    *to++ = NULL;
    return to;
}

static ew_members *make_members(Pb__MemberListResponse *a) {
    size_t urls = 0;
    for (size_t i = 0; i < a->n_members; i++)
        urls += a->members[i]->n_peerurls + a->members[i]->n_clienturls + 2;
    ew_members *m = calloc(1, sizeof *m + a->n_members * sizeof m->list[0]);
    if (!m)
        return NULL;
    m->answer = a;
    m->count = a->n_members;
    m->urls = calloc(urls + 1, sizeof *m->urls);
    if (!m->urls) {
        free(m);
        return NULL;
    }
    const char **next = m->urls;
    for (size_t i = 0; i < m->count; i++) {
        const Pb__Member *from = a->members[i];
        m->list[i] = (ew_member){.id = from->id, .name = from->name, .is_learner = from->islearner, .peer_urls = next};
        next = copy_urls(next, from->peerurls, from->n_peerurls);
        m->list[i].client_urls = next;
        next = copy_urls(next, from->clienturls, from->n_clienturls);
    }
    return m;
}

ew_status ew_client_members(ew_client *client, ew_members **out, ew_error *err) {
    if (ARGUMENT_MISSING(client, err) || ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    Pb__MemberListRequest request = PB__MEMBER_LIST_REQUEST__INIT;
    Pb__MemberListResponse *a;
    *out = NULL;
    int status = blocking_request(client, ETCD_MEMBER_LIST, &request, &pb__member_list_response__descriptor, &a, err);
    if (status != EW_OK)
        return status;
    *out = make_members(a);
    if (*out)
        return EW_OK;
    pb__member_list_response__free_unpacked(a, NULL);
    return ew_fail(err, EW_ERR_NO_MEMORY, "members");
}

const ew_member *ew_members_at(const ew_members *m, size_t i) {
    if (!m)
        return NULL;
    return i < m->count ? &m->list[i] : NULL;
}

void ew_members_free(ew_members *m) {
    if (!m)
        return;
    pb__member_list_response__free_unpacked(m->answer, NULL);
    free(m->urls);
    free(m);
}
