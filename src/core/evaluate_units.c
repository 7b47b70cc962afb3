/* Units: the groups' writes as fragments of etcd transactions, within etcd's limits (SEMANTICS 23, 25, 26, 27). */
#include "core/evaluate.h"
#include "core/slice.h"
#include "etcd.pb-c.h"

#include "core/bug.h"
#include "core/check.h"

#include <inttypes.h>
#include <stdlib.h>

/* How many full transactions one batch may become: the reactor learns nothing before the batch is decided. */
#define BATCH_TXNS_MAX 16

/* ---- one key of a unit, as a fragment of a transaction; appending the bytes of fragments joins them ---- */

typedef struct fragment {
    Pb__TxnRequest txn;
    Pb__Compare compare, *compares[1];
    Pb__RequestOp op, *ops[1];
    Pb__PutRequest put;
    Pb__DeleteRangeRequest delete;
    Pb__RequestOp read, *reads[1];
    Pb__RangeRequest range;
} fragment;

static bool is_record(const overlay_cell *cell) {
    return cell->now.lease == OVERLAY_LEASE_RECORD;
}

static void fragment_write(fragment *f, const evaluate_batch *b, const overlay_cell *cell) {
    const ProtobufCBinaryData key = f->compare.key;
    pb__request_op__init(&f->op);
    f->ops[0] = &f->op;
    f->txn.success = f->ops;
    f->txn.n_success = 1;
    if (!cell->now.present) {
        pb__delete_range_request__init(&f->delete);
        f->delete.key = key;
        f->op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        f->op.request_delete_range = &f->delete;
        return;
    }
    pb__put_request__init(&f->put);
    f->put.key = key;
    f->put.value = slice_bytes(cell->now.value);
    f->put.lease = cell->now.lease == OVERLAY_LEASE_SESSION ? b->scope->session_lease
                   : is_record(cell)                        ? b->limits.record_lease
                                                            : 0;
    f->put.ignore_lease = cell->now.lease == OVERLAY_LEASE_KEEP;
    f->op.request_case = PB__REQUEST_OP__REQUEST_REQUEST_PUT;
    f->op.request_put = &f->put;
}

/* A compare of the mod_revision, and a read in the else branch, so that a refusal shows which unit conflicts. */
static void fragment_begin(fragment *f, ew_slice key) {
    pb__txn_request__init(&f->txn);
    pb__compare__init(&f->compare);
    f->compare.target = PB__COMPARE__COMPARE_TARGET__MOD;
    f->compare.key = slice_bytes(key);
    f->compare.target_union_case = PB__COMPARE__TARGET_UNION_MOD_REVISION;
    f->compares[0] = &f->compare;
    f->txn.compare = f->compares;
    f->txn.n_compare = 1;

    pb__range_request__init(&f->range);
    f->range.key = f->compare.key;
    pb__request_op__init(&f->read);
    f->read.request_case = PB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    f->read.request_range = &f->range;
    f->reads[0] = &f->read;
    f->txn.failure = f->reads;
    f->txn.n_failure = 1;
}

/* SEMANTICS 23: compares with the cache's mod_revision, 0 if the key is absent there. The else branch reads a client's
 * record with its value, which has the outcome. */
static void fragment_init(fragment *f, const evaluate_batch *b, const evaluate_item *item) {
    const overlay_cell *cell = item->cell;
    fragment_begin(f, cell->key);
    f->compare.mod_revision = cell->base;
    f->range.keys_only = !is_record(cell);
    if (item->written)
        fragment_write(f, b, cell);
}

/* SEMANTICS 37: no key of the range has been put since; a deletion is found by the compare of its own key. The else
 * branch reads the newest key. */
static void fragment_init_range(fragment *f, const evaluate_range *r) {
    static const ew_slice no_end = {"\0", 1}; /* etcd's notation for no end */
    fragment_begin(f, r->range->start);
    f->compare.result = PB__COMPARE__COMPARE_RESULT__LESS;
    f->compare.range_end = slice_bytes(r->range->endless ? no_end : r->range->end);
    f->compare.mod_revision = r->revision + 1;
    f->range.range_end = f->compare.range_end;
    f->range.keys_only = true;
    f->range.limit = 1;
    f->range.min_mod_revision = r->revision + 1;
    f->range.sort_order = PB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    f->range.sort_target = PB__RANGE_REQUEST__SORT_TARGET__MOD;
}

static size_t compares_of(const evaluate_unit *u) {
    return u->count + u->range_count;
}

static size_t range_bytes(const evaluate_range *range) {
    fragment f;
    fragment_init_range(&f, range);
    return pb__txn_request__get_packed_size(&f.txn);
}

static size_t item_bytes(const evaluate_batch *b, const evaluate_item *item) {
    fragment f;
    fragment_init(&f, b, item);
    return pb__txn_request__get_packed_size(&f.txn);
}

static void measure(const evaluate_batch *b, evaluate_unit *u) {
    u->ops = 0;
    u->bytes = 0;
    u->has_delete = false;
    for (size_t i = 0; i < u->count; i++) {
        u->ops += u->items[i].written;
        u->has_delete |= u->items[i].written && !u->items[i].cell->now.present;
        u->bytes += item_bytes(b, &u->items[i]);
    }
    for (size_t i = 0; i < u->range_count; i++)
        u->bytes += range_bytes(&u->ranges[i]);
}

static bool fits(const evaluate_batch *b, const evaluate_unit *u) {
    return compares_of(u) <= b->limits.max_keys && u->ops <= b->limits.max_keys &&
           (int64_t)u->bytes + b->limits.overhead_bytes <= b->limits.max_bytes;
}

/* ---- adding a group to the batch ---- */

/* Keeps in the scratch unit only what must be compared or is written; removes what was only read, or undone. */
static void settle_scratch(evaluate_batch *b) {
    evaluate_unit *u = &b->scratch;
    size_t kept = 0;
    for (size_t i = 0; i < u->count; i++) {
        overlay_cell *cell = u->items[i].cell;
        bool compared = u->items[i].written && !EW_BUG(reads_not_compared), written = cell->now.writer == b->group;
        if (compared || written)
            u->items[kept++] = (evaluate_item){cell, written};
    }
    u->count = kept;
    u->groups = 1;
    measure(b, u);
}

/* Finds the first unit that wrote a key which the group compares or writes: all units from there on must commit
 * together with it. `unit_count` if there is none. */
static size_t merge_point(const evaluate_batch *b) {
    size_t first = b->unit_count;
    for (size_t i = 0; i < b->scratch.count; i++) {
        size_t unit = b->scratch.items[i].cell->unit;
        if (unit > 0 && unit - 1 < first)
            first = unit - 1;
    }
    return first;
}

static void collect(evaluate_unit *into, uint64_t stamp, const evaluate_unit *from) {
    for (size_t i = 0; i < from->count; i++) {
        overlay_cell *cell = from->items[i].cell;
        if (cell->stamp != stamp) {
            cell->stamp = stamp;
            cell->place = into->count;
            into->items[into->count++] = (evaluate_item){cell, false};
        }
        into->items[cell->place].written |= from->items[i].written;
    }
    for (size_t i = 0; i < from->range_count; i++)
        into->ranges[into->range_count++] = from->ranges[i];
    into->groups += from->groups;
}

static void unit_fini(evaluate_unit *u) {
    free(u->items);
    free(u->ranges);
    u->items = NULL;
    u->ranges = NULL;
}

/* Allocates a unit for all that is to be merged; `items` is NULL when out of memory. */
static evaluate_unit reserve_merged(const evaluate_batch *b, size_t first) {
    evaluate_unit merged = {.capacity = b->scratch.count, .range_capacity = b->scratch.range_count};
    for (size_t i = first; i < b->unit_count; i++) {
        merged.capacity += b->units[i].count;
        merged.range_capacity += b->units[i].range_count;
    }
    merged.items = malloc((merged.capacity + 1) * sizeof *merged.items);
    if (merged.range_capacity > 0)
        merged.ranges = malloc(merged.range_capacity * sizeof *merged.ranges);
    if (merged.range_capacity > 0 && !merged.ranges)
        unit_fini(&merged);
    return merged;
}

/* Merges the units from `first` on and the scratch unit; `items` is NULL when out of memory. */
static evaluate_unit merge(evaluate_batch *b, size_t first) {
    evaluate_unit merged = reserve_merged(b, first);
    if (!merged.items) {
        unit_fini(&merged);
        return merged;
    }
    if (first == b->unit_count) { /* a separate unit, already measured */
        memcpy(merged.items, b->scratch.items, b->scratch.count * sizeof *merged.items);
        for (size_t i = 0; i < b->scratch.range_count; i++)
            merged.ranges[merged.range_count++] = b->scratch.ranges[i];
        merged.count = b->scratch.count;
        merged.groups = b->scratch.groups;
        merged.ops = b->scratch.ops;
        merged.bytes = b->scratch.bytes;
        merged.has_delete = b->scratch.has_delete;
        return merged;
    }
    b->stamp++;
    for (size_t i = first; i < b->unit_count; i++)
        collect(&merged, b->stamp, &b->units[i]);
    collect(&merged, b->stamp, &b->scratch);
    measure(b, &merged);
    return merged;
}

static bool reserve_unit(evaluate_batch *b) {
    if (b->unit_count < b->unit_capacity)
        return true;
    size_t capacity = b->unit_capacity ? 2 * b->unit_capacity : 8;
    evaluate_unit *grown = realloc(b->units, capacity * sizeof *grown);
    if (!grown)
        return false;
    b->units = grown;
    b->unit_capacity = capacity;
    return true;
}

/* Replaces the units from `first` on by `u`. */
static void replace(evaluate_batch *b, size_t first, evaluate_unit u) {
    for (size_t i = first; i < b->unit_count; i++) {
        b->compares -= compares_of(&b->units[i]);
        b->bytes -= b->units[i].bytes;
        unit_fini(&b->units[i]);
    }
    b->units[first] = u;
    b->unit_count = first + 1;
    b->compares += compares_of(&u);
    b->bytes += u.bytes;
    for (size_t i = 0; i < u.count; i++) {
        if (u.items[i].written)
            u.items[i].cell->unit = first + 1;
    }
}

static evaluate_result too_large(const evaluate_batch *b, const ew_group *g, ew_error *err) {
    char title[96];
    const evaluate_unit *u = &b->scratch;
    ew_fail(err, EW_ERR_TOO_LARGE,
            "%s: %zu keys%s and %zu bytes (including %" PRId64 " of the worker's own); at most %" PRIu32
            " keys and %" PRId64 " bytes fit in a transaction (options max_txn_ops, max_txn_keys, max_txn_bytes)",
            group_title(g, title, sizeof title), compares_of(u),
            g->submit && g->submit->record.key.len > 0 ? " (one is its client's record)" : "",
            u->bytes + (size_t)b->limits.overhead_bytes, b->limits.overhead_bytes, b->limits.max_keys,
            b->limits.max_bytes);
    return EVALUATE_FAILED;
}

evaluate_result evaluate_join(evaluate_batch *b, const ew_group *g, ew_error *err) {
    settle_scratch(b);
    if (b->scratch.ops == 0) {
        /* SEMANTICS 27. After other units the group may have seen their writes, so it is decided with them. */
        if (b->unit_count == 0)
            return EVALUATE_UNCHANGED;
        b->units[b->unit_count - 1].groups++;
        return EVALUATE_ADDED;
    }
    if (!fits(b, &b->scratch))
        return EW_BUG(too_large_again) ? EVALUATE_LATER : too_large(b, g, err);
    size_t first = merge_point(b);
    if (first < b->unit_count && !b->limits.merge)
        return EVALUATE_LATER;
    if (b->compares + compares_of(&b->scratch) > (uint64_t)BATCH_TXNS_MAX * b->limits.max_keys ||
        b->bytes + b->scratch.bytes > (uint64_t)BATCH_TXNS_MAX * (uint64_t)b->limits.max_bytes)
        return EVALUATE_LATER; /* never for an empty batch, because the group alone fits */
    evaluate_unit merged = merge(b, first);
    if (!merged.items || !reserve_unit(b)) {
        unit_fini(&merged);
        ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
        return EVALUATE_FAILED;
    }
    if (!fits(b, &merged)) {
        unit_fini(&merged);
        return EVALUATE_LATER;
    }
    replace(b, first, merged);
    return EVALUATE_ADDED;
}

/* ---- the batch as a message ---- */

/* Records come last, so that the committer knows them by their position. */
static uint8_t *pack_items(const evaluate_batch *b, const evaluate_unit *u, bool records, uint8_t *at) {
    for (size_t i = 0; i < u->count; i++) {
        if (is_record(u->items[i].cell) != records)
            continue;
        fragment f;
        fragment_init(&f, b, &u->items[i]);
        at += pb__txn_request__pack(&f.txn, at);
    }
    return at;
}

static uint8_t *pack_unit(const evaluate_batch *b, const evaluate_unit *u, Msg__Unit *out, uint8_t *at) {
    msg__unit__init(out);
    out->txn.data = at;
    out->txn.len = u->bytes;
    out->groups = u->groups;
    out->compares = (uint32_t)compares_of(u);
    out->ops = u->ops;
    out->has_delete = u->has_delete;
    at = pack_items(b, u, false, at);
    for (size_t i = 0; i < u->range_count; i++) {
        fragment f;
        fragment_init_range(&f, &u->ranges[i]);
        at += pb__txn_request__pack(&f.txn, at);
    }
    at = pack_items(b, u, true, at);
    for (size_t i = 0; i < u->count; i++)
        out->records += is_record(u->items[i].cell);
    CHECK(at == out->txn.data + u->bytes);
    return at;
}

bool evaluate_pack(const evaluate_batch *b, evaluate_patches *out) {
    size_t bytes = 0;
    for (size_t i = 0; i < b->unit_count; i++)
        bytes += b->units[i].bytes;
    msg__patches__init(&out->message);
    out->units = calloc(b->unit_count + 1, sizeof *out->units);
    out->list = calloc(b->unit_count + 1, sizeof *out->list);
    out->bytes = malloc(bytes + 1);
    if (!out->units || !out->list || !out->bytes) {
        evaluate_patches_fini(out);
        return false;
    }
    uint8_t *at = out->bytes;
    for (size_t i = 0; i < b->unit_count; i++) {
        at = pack_unit(b, &b->units[i], &out->units[i], at);
        out->list[i] = &out->units[i];
    }
    out->message.units = out->list;
    out->message.n_units = b->unit_count;
    return true;
}

void evaluate_patches_fini(evaluate_patches *p) {
    free(p->units);
    free(p->list);
    free(p->bytes);
    *p = (evaluate_patches){0};
}
