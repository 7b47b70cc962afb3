/* Submits, the groups of other programs: plain puts, deletes and compares, committed after the reactor's own groups.
 *
 * A submit with an identity is decided once, even if it is sent many times or a worker dies (SEMANTICS 34). The
 * transaction that decides it compares and puts the record of its client, so that only one of all copies is applied,
 * even if copies of a dead worker are still on their way to etcd. A worker that does not know the record compares it
 * with "absent"; if there is one, etcd refuses the transaction, and the refusal returns the record
 * (ticking_learn_records). A refused submit is decided in the same way, by a transaction that puts the record. */
#include "core/ticking_private.h"

#include "core/bug.h"
#include "core/check.h"
#include "core/slice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void ticking_submits_fini(ticking *t) {
    submit_clients_fini(&t->submits.clients);
}

bool ticking_submits_wait(const ticking *t) {
    return t->submits.waiting.first != NULL;
}

uint32_t ticking_submit_count(const ticking *t) {
    return t->submits.count;
}

void ticking_take_waiting(ticking *t, group_list *list) {
    group_list_append(list, &t->submits.waiting);
}

/* ---- replies ---- */

void ticking_answer_submit(ticking *t, const ew_group *g, int status, int64_t revision, const char *detail) {
    t->submits.count--;
    ticking_reply(t, g->submit_id, status, revision, detail);
    if (!g->submit)
        return;
    for (const group_copy *c = g->submit->copies; c; c = c->next) {
        t->submits.count--;
        ticking_reply(t, c->submit_id, status, revision, detail);
    }
    g->submit->client->pending--;
}

/* Returns the status of a submit that this worker will not write. Without an identity it was not written. With an
 * identity its outcome is unknown: another worker may have committed an earlier copy, or a dead worker's copy may still
 * be applied. */
int ticking_abandoned_status(bool has_identity) {
    return has_identity ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_CANCELLED;
}

/* ---- submits that are known already ---- */

static int too_old(uint64_t sequence, uint64_t newest, char *detail, size_t size) {
    snprintf(detail, size, "sequence %" PRIu64 " is older than %" PRIu64 ", its outcome is no longer kept", sequence,
             newest);
    return EW_ERR_TOO_OLD;
}

static int another(uint64_t sequence, char *detail, size_t size) {
    snprintf(detail, size, "sequence %" PRIu64 " was used before, by a submit with other content", sequence);
    return EW_ERR_BAD_MESSAGE;
}

static const char *words_of(int status) {
    return status == EW_ERR_REFUSED           ? "a compare does not hold"
           : status == EW_ERR_UNKNOWN_OUTCOME ? "the client's record below receipt_prefix is malformed"
                                              : "";
}

/* Returns whether the client's last decided submit is this one, or a later one. */
static bool known_outcome(const submit_client *client, uint64_t sequence, uint64_t digest, ticking_outcome *out) {
    if (sequence > client->sequence)
        return false;
    *out = (ticking_outcome){.status = client->status};
    if (sequence < client->sequence) {
        out->status = too_old(sequence, client->sequence, out->detail, sizeof out->detail);
    } else if (client->status != EW_ERR_UNKNOWN_OUTCOME && digest != client->digest) {
        out->status = another(sequence, out->detail, sizeof out->detail);
    } else {
        out->revision = client->revision;
        snprintf(out->detail, sizeof out->detail, "%s", words_of(client->status));
    }
    return true;
}

bool ticking_submit_is_known(const ew_group *g, ticking_outcome *out) {
    return g->submit && known_outcome(g->submit->client, g->submit->sequence, g->submit->digest, out);
}

static bool is_full(const ticking *t) {
    return t->submits.count >= t->config.max_submits;
}

/* Adds the request to a pending group, so that it gets the same reply. */
static void attach(ticking *t, uint64_t id, const ew_group *g) {
    const bool full = is_full(t);
    group_copy *copy = full ? NULL : malloc(sizeof *copy);
    if (!copy) {
        ticking_reply(t, id, full ? EW_ERR_BUSY : EW_ERR_NO_MEMORY, 0, full ? "too many requests are waiting" : "");
        return;
    }
    t->stats.submit_repeats++;
    *copy = (group_copy){g->submit->copies, id};
    g->submit->copies = copy;
    t->submits.count++;
}

/* If a request needs no new group, because it is a repeat or too old, replies to it and returns true. */
static bool take_repeat(ticking *t, uint64_t id, const Msg__Submit *s) {
    const submit_client *client = submit_clients_find(&t->submits.clients, slice_of(s->client));
    const uint64_t digest = submit_digest(s);
    ticking_outcome known;
    if (!client)
        return false;
    if (known_outcome(client, s->sequence, digest, &known)) {
        t->stats.submit_repeats++;
        ticking_reply(t, id, known.status, known.revision, known.detail);
        return true;
    }
    const ew_group *g = client->pending > 0 ? client->newest : NULL;
    if (!g || s->sequence > g->submit->sequence)
        return false;
    if (s->sequence == g->submit->sequence && digest == g->submit->digest) {
        attach(t, id, g);
        return true;
    }
    int status = s->sequence < g->submit->sequence
                     ? too_old(s->sequence, g->submit->sequence, known.detail, sizeof known.detail)
                     : another(s->sequence, known.detail, sizeof known.detail);
    ticking_reply(t, id, status, 0, known.detail);
    return true;
}

/* ---- a new submit ---- */

static bool has_identity(const Msg__Submit *s) {
    return s->client.len > 0 || s->sequence > 0;
}

static bool identity_is_sound(ticking *t, uint64_t id, const Msg__Submit *s) {
    char detail[96] = "";
    if (s->client.len > SUBMIT_CLIENT_ID_MAX)
        snprintf(detail, sizeof detail, "the client's id has %zu bytes, at most %d are allowed", s->client.len,
                 SUBMIT_CLIENT_ID_MAX);
    else if (s->client.len == 0)
        snprintf(detail, sizeof detail, "a sequence needs a client");
    else if (s->sequence == 0)
        snprintf(detail, sizeof detail, "a client needs a sequence of 1 or more");
    if (detail[0])
        ticking_reply(t, id, EW_ERR_BAD_MESSAGE, 0, detail);
    return !detail[0];
}

/* Adds the submit's content to the group. The group keeps its first error; make_group checks it. */
static void fill(ew_group *g, const Msg__Submit *s) {
    for (size_t i = 0; i < s->n_compares; i++) {
        const Msg__Submit__Compare *c = s->compares[i];
        if (c->absent)
            group_if_absent(g, slice_of(c->key));
        else
            group_if_value(g, slice_of(c->key), slice_of(c->value));
    }
    for (size_t i = 0; i < s->n_puts; i++)
        ew_group_put(g, slice_of(s->puts[i]->key), slice_of(s->puts[i]->value));
    for (size_t i = 0; i < s->n_deletes; i++)
        ew_group_delete(g, slice_of(s->deletes[i]));
}

/* Gives the group its submit identity. Returns false when out of memory. */
static bool identify(ticking *t, ew_group *g, const Msg__Submit *s) {
    g->submit = calloc(1, sizeof *g->submit);
    submit_client *client =
        g->submit ? submit_clients_get(&t->submits.clients, t->config.receipt_prefix, slice_of(s->client)) : NULL;
    if (!client)
        return false;
    g->submit->client = client;
    g->submit->sequence = s->sequence;
    g->submit->digest = submit_digest(s);
    return true;
}

static void enqueue(ticking *t, ew_group *g) {
    group_list_add(&t->submits.waiting, g);
    t->submits.count++;
    if (!g->submit)
        return;
    g->submit->client->pending++;
    g->submit->client->newest = g;
}

static void make_group(ticking *t, uint64_t id, const Msg__Submit *s) {
    ew_group *g = group_new(&t->scope, 0);
    if (!g || (has_identity(s) && !identify(t, g, s))) {
        group_free(g);
        ticking_reply(t, id, EW_ERR_NO_MEMORY, 0, "");
        return;
    }
    g->submitted = true;
    g->submit_id = id;
    fill(g, s);
    if (g->error.code != EW_OK) {
        ticking_reply(t, id, g->error.code, 0, g->error.detail);
        group_free(g);
    } else {
        enqueue(t, g);
    }
}

void ticking_take_submit(ticking *t, uint64_t id, const Msg__Submit *s) {
    bool identity = has_identity(s);
    t->stats.submits++;
    if (identity && (!identity_is_sound(t, id, s) || take_repeat(t, id, s)))
        return;
    if (ticking_is_ending(t) || ticking_is_finished(t))
        ticking_reply(t, id, ticking_abandoned_status(identity), 0, "the worker is ending");
    else if (is_full(t))
        ticking_reply(t, id, EW_ERR_BUSY, 0, "too many submitted groups are waiting");
    else if (s->n_puts == 0 && s->n_deletes == 0)
        ticking_reply(t, id, EW_ERR_BAD_MESSAGE, 0, "the group has no puts and no deletes");
    else
        make_group(t, id, s);
}

/* ---- records ---- */

static ew_slice pack_record(const group_submit *s, int status, int64_t revision, uint8_t *bytes) {
    Msg__SubmitRecord r = MSG__SUBMIT_RECORD__INIT;
    r.sequence = s->sequence;
    r.digest = s->digest;
    r.status = status;
    r.revision = revision;
    CHECK(msg__submit_record__get_packed_size(&r) <= GROUP_RECORD_BYTES);
    return (ew_slice){bytes, msg__submit_record__pack(&r, bytes)};
}

void ticking_prepare_submit(ticking *t, ew_group *g) {
    group_submit *s = g->submit;
    if (!s)
        return;
    s->refused = false;
    s->refused_at = ticking_observed(t);
    bool kept = t->config.record_lease != 0 && !EW_BUG(record_left_out);
    s->record = (group_record){.key = kept ? s->client->key : (ew_slice){NULL, 0},
                               .revision = s->client->record_revision,
                               .committed = pack_record(s, EW_OK, 0, s->bytes[0]),
                               .refused = pack_record(s, EW_ERR_REFUSED, ticking_observed(t), s->bytes[1])};
}

void ticking_note_decision(const ew_group *g, int status, int64_t revision) {
    submit_client *client = g->submit ? g->submit->client : NULL;
    if (!client || g->submit->sequence < client->sequence)
        return;
    client->sequence = g->submit->sequence;
    client->digest = g->submit->digest;
    client->status = status;
    client->revision = revision;
}

void ticking_submit_committed(ticking *t, const ew_group *g, int64_t revision, ticking_outcome *out) {
    *out = (ticking_outcome){.status = EW_OK, .revision = revision};
    if (!g->submit) {
        t->stats.groups_committed++;
        return;
    }
    if (g->submit->refused)
        *out = (ticking_outcome){.status = EW_ERR_REFUSED, .revision = g->submit->refused_at};
    snprintf(out->detail, sizeof out->detail, "%s", g->submit->refused ? g->submit->refusal : "");
    t->stats.groups_committed += out->status == EW_OK;
    if (g->submit->record.key.len > 0)
        g->submit->client->record_revision = revision;
    ticking_note_decision(g, out->status, out->revision);
}

/* Returns the pending submit whose client has this record. */
static const ew_group *group_of(const ew_group *pending, ProtobufCBinaryData key) {
    for (const ew_group *g = pending; g; g = g->next)
        if (g->submit && ew_slice_equal(g->submit->client->key, slice_of(key)))
            return g;
    return NULL;
}

static void learn(ticking *t, const Msg__FoundRecord *found, const Msg__Unit *unit, const ew_group *pending) {
    Pb__TxnRequest *txn = pb__txn_request__unpack(NULL, unit->txn.len, unit->txn.data);
    if (!txn) { /* the core made the unit itself, so memory ran out; without the record the group would always be
                   refused */
        ticking_no_memory(t);
        return;
    }
    const ew_group *g = group_of(pending, txn->compare[txn->n_compare - unit->records + found->place]->key);
    int status =
        g ? submit_client_learn(g->submit->client, found->mod_revision, slice_of(found->value), g->submit->sequence)
          : EW_OK;
    if (status == EW_ERR_NO_MEMORY)
        ticking_no_memory(t);
    else if (status != EW_OK)
        ticking_log(t, EW_LOG_WARN, "malformed record of a submitting client");
    pb__txn_request__free_unpacked(txn, NULL);
}

bool ticking_learn_records(ticking *t, const Msg__Outcome *o, const evaluate_patches *batch, const ew_group *pending) {
    bool any = false;
    for (size_t i = 0; i < o->n_records; i++) {
        const Msg__FoundRecord *found = o->records[i];
        if (found->unit >= batch->message.n_units || found->mod_revision < 0 ||
            found->place >= batch->units[found->unit].records) {
            t->stats.bad_messages++;
            continue;
        }
        learn(t, found, &batch->units[found->unit], pending);
        any = true;
    }
    return any;
}
