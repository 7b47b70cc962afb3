/* A batch: sends its units in order, as many in one transaction as fit, until all are committed or one is not. */
#include "core/committing_private.h"

#include "core/check.h"

#include <inttypes.h>
#include <stdlib.h>

void committing_drop_batch(committing *c) {
    free(c->bytes);
    free(c->units);
    c->bytes = NULL;
    c->units = NULL;
    c->unit_count = c->next = c->limit = c->end = 0;
}

static bool copy_units(committing *c, const Msg__Patches *patches) {
    size_t bytes = 0;
    for (size_t i = 0; i < patches->n_units; i++)
        bytes += patches->units[i]->txn.len;
    int64_t *revisions = realloc(c->revisions, (patches->n_units + 1) * sizeof *revisions);
    if (revisions)
        c->revisions = revisions;
    c->bytes = malloc(bytes + 1);
    c->units = calloc(patches->n_units + 1, sizeof *c->units);
    if (!revisions || !c->bytes || !c->units)
        return false;
    uint8_t *at = c->bytes;
    for (size_t i = 0; i < patches->n_units; i++) {
        const Msg__Unit *u = patches->units[i];
        if (u->txn.len)
            memcpy(at, u->txn.data, u->txn.len);
        c->units[i] = (committing_unit){{at, u->txn.len}, u->compares, u->ops, u->records, u->has_delete};
        at += u->txn.len;
    }
    c->unit_count = c->limit = c->together = patches->n_units;
    return true;
}

/* The units before the first one that must not be sent are committed; the others are not. */
static int check_units(committing *c) {
    for (size_t i = 0; i < c->unit_count; i++) {
        int status = committing_check_unit(&c->config, c->units[i].txn, i, c->limit_detail, sizeof c->limit_detail);
        if (status == EW_ERR_BAD_MESSAGE) {
            c->limit = i;
            c->limit_status = status;
            return EW_OK;
        }
        if (status != EW_OK)
            return status;
    }
    return EW_OK;
}

/* A batch with another number is not the reactor's next one: nothing of it is written, and the expected number
 * stays. */
static bool refuse_number(committing *c, const Msg__Patches *patches) {
    if (!c->config.numbered || patches->batch == c->batch + 1)
        return false;
    snprintf(c->detail, sizeof c->detail, "PATCHES: batch %" PRIu64 " after batch %" PRIu64, patches->batch, c->batch);
    Msg__Outcome *o = &committing_emit(c, COMMITTING_DO_OUTCOME)->outcome;
    msg__outcome__init(o);
    o->batch = patches->batch;
    o->status = EW_ERR_BAD_MESSAGE;
    o->detail = c->detail;
    return true;
}

void committing_take(committing *c, const Msg__Patches *patches) {
    if (c->state != COMMITTING_IDLE || c->stopping) {
        committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
        log->status = EW_LOG_WARN;
        log->detail = "batch dropped: another one is undecided";
        return;
    }
    if (refuse_number(c, patches))
        return;
    c->batch = patches->batch;
    c->limit_detail[0] = '\0';
    c->barrier_revision = c->conflict_revision = 0;
    c->rewritten = false;
    c->limit_status = EW_OK;
    c->found_count = 0;
    c->txns = c->resolved = c->failures = 0;
    c->counter = patches->delete_counter;
    c->batch_lease = c->config.lease;
    c->base_revision = patches->base_revision;
    if (!copy_units(c, patches) || check_units(c) != EW_OK)
        committing_finish(c, EW_ERR_NO_MEMORY, false, NULL);
    else if (c->config.counter && (c->counter < 0 || c->counter > INT64_MAX - 1 - (int64_t)patches->n_units))
        committing_finish(c, EW_ERR_BAD_COUNTER, false, "the batch's delete counter is out of range");
    else
        committing_advance(c);
}

void committing_advance(committing *c) {
    if (c->next == c->limit) {
        const char *why = c->limit_detail[0] != '\0' ? c->limit_detail : "malformed atomic unit";
        committing_finish(c, c->limit_status, false, c->limit_status == EW_ERR_BAD_MESSAGE ? why : NULL);
        return;
    }
    if (c->stopping) {
        committing_finish(c, EW_ERR_CANCELLED, false, "stopped");
        return;
    }
    if (c->claim) {
        committing_claim(c);
        return;
    }
    int status = committing_build(c);
    if (status != EW_OK) {
        char detail[128];
        const committing_unit *u = &c->units[c->next];
        snprintf(detail, sizeof detail, "%" PRIu32 " compares, %" PRIu32 " operations, %zu bytes", u->compares, u->ops,
                 u->txn.len);
        committing_finish(c, status, false, status == EW_ERR_TOO_LARGE ? detail : NULL);
        return;
    }
    c->in_batch = true;
    c->failures = 0;
    committing_send(c, &c->request);
    committing_move(c, COMMITTING_IN_FLIGHT);
}

/* The current transaction is committed. */
void committing_committed(committing *c, int64_t revision, bool visible) {
    for (size_t u = c->next; u < c->end; u++)
        c->revisions[u] = revision;
    c->next = c->end;
    if (visible)
        c->barrier_revision = revision;
    if (c->own.deletes && c->config.counter)
        c->counter++;
    if (c->config.exactly_once) {
        c->receipt_mod = revision;
        c->receipt_lease = c->own.lease;
    }
    c->fencing = false;
    committing_advance(c);
}

static const char *why_ended(int status) {
    switch (status) {
    case EW_ERR_BAD_ANSWER:
        return "etcd refused a transaction although all of its compares hold";
    case EW_ERR_NO_MEMORY:
        return "finding the refused atomic unit";
    case EW_ERR_FENCED:
        return "another worker with the same worker_id has put the session key";
    default:
        return "a fence condition of the transaction does not hold";
    }
}

/* The current transaction is refused permanently. The units before the one that conflicts are still valid: they are
 * sent again without it. The refusal is reported only after that, because groups commit in order (SEMANTICS 21, 25). */
void committing_refused(committing *c, const committing_answer *answer) {
    CHECK(answer->conflict >= c->next && answer->conflict < c->end);
    c->fencing = false;
    if (answer->status != EW_ERR_REFUSED && answer->status != EW_ERR_BAD_MESSAGE) {
        committing_finish(c, answer->status, false, why_ended(answer->status));
        return;
    }
    c->limit = answer->conflict;
    c->limit_status = answer->status;
    c->limit_detail[0] = '\0'; /* it was about a later unit */
    c->conflict_revision = answer->conflict_revision;
    memcpy(c->found, answer->records, sizeof c->found);
    c->found_count = answer->record_count;
    committing_advance(c);
}

/* The request was within the options, so the options allow more than the server accepts. */
static const char *name_limits(committing *c, const char *detail) {
    snprintf(c->limits_text, sizeof c->limits_text,
             "etcd's own limits are below the options max_txn_ops = %" PRIu32 " or max_txn_bytes = %" PRId64 ": %s",
             c->config.max_ops, c->config.max_bytes, detail ? detail : "");
    if (!c->limits_said) {
        committing_effect *log = committing_emit(c, COMMITTING_DO_LOG);
        log->status = EW_LOG_WARN;
        log->detail = c->limits_text;
    }
    c->limits_said = true;
    return c->limits_text;
}

/* A unit may put a client's record with the lease that was replaced while the batch was in flight. If etcd does not
 * find a lease, that is certain: neither this transaction nor a late copy of it is ever applied. */
bool committing_bound_to_lost_lease(const committing *c, int status) {
    return status == EW_ERR_NOT_FOUND && c->config.exactly_once && c->batch_lease != c->config.lease;
}

void committing_evaluate_again(committing *c) {
    c->conflict_revision = c->base_revision; /* it has been observed, so there is no wait */
    committing_finish(c, EW_ERR_REFUSED, false, NULL);
}

/* An error of one unit is reported for that unit: a transaction of several units is halved until the unit is found. */
void committing_failed(committing *c, int status, const char *detail) {
    if (status == EW_ERR_TOO_LARGE)
        detail = name_limits(c, detail);
    bool of_a_unit = status == EW_ERR_TOO_LARGE || status == EW_ERR_INVALID || status == EW_ERR_DENIED;
    if (of_a_unit && c->end - c->next > 1) {
        c->together = (c->end - c->next) / 2;
        committing_advance(c);
    } else if (status == EW_ERR_NOT_FOUND) {
        /* The only thing that a transaction refers to and etcd may not find is a lease: the session's. */
        committing_finish(c, EW_ERR_SESSION_DONE, false, detail);
    } else {
        committing_finish(c, status, false, detail);
    }
}

static void tell_records(committing *c, Msg__Outcome *o) {
    for (size_t i = 0; i < c->found_count; i++) {
        Msg__FoundRecord *r = &c->records[i];
        msg__found_record__init(r);
        r->unit = (uint32_t)c->found[i].unit;
        r->place = c->found[i].place;
        r->value = (ProtobufCBinaryData){c->found[i].len, c->found[i].value};
        r->mod_revision = c->found[i].mod_revision;
        c->record_list[i] = r;
    }
    o->records = c->record_list;
    o->n_records = c->found_count;
}

void committing_finish(committing *c, int status, bool unknown, const char *detail) {
    committing_move(c, COMMITTING_IDLE);
    c->no_space = false; /* nothing waits any more */
    snprintf(c->detail, sizeof c->detail, "%s", detail ? detail : "");
    c->in_batch = c->call_out = c->fencing = false;
    c->timer_ms = INT64_MAX;

    Msg__Outcome *o = &committing_emit(c, COMMITTING_DO_OUTCOME)->outcome;
    msg__outcome__init(o);
    o->batch = c->batch;
    o->units = (uint32_t)c->next;
    o->barrier_revision = c->barrier_revision;
    o->status = status;
    o->conflict_revision = status == EW_ERR_REFUSED ? c->conflict_revision : 0;
    o->detail = c->detail;
    o->txns = c->txns;
    o->resolved = c->resolved;
    o->unknown = unknown;
    o->rewritten = c->rewritten;
    o->n_revisions = c->next;
    o->revisions = c->revisions;
    if (status == EW_ERR_REFUSED)
        tell_records(c, o);

    committing_drop_batch(c);
    if (c->stopping)
        committing_move(c, COMMITTING_ENDED);
}
