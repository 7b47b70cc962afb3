/* Feeds arbitrary bytes to what reads the sockets of other programs: the bodies of a mailbox, and the replies and notes
 * that an application reads. What is read without unpacking must be equal to what unpacking gives. What is unpacked and
 * packed again must be unchanged. */
#include "actors/message.h"

#include "core/check.h"
#include "core/slice.h"
#include "core/unpack.h"

#include <etcdworker/nng.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_urgent(const Msg__Message *m) {
    return m->health || m->outcome || m->patches || m->session || m->stop || m->down || m->check;
}

static void read_message(ew_slice body) {
    int status;
    bool urgent = message_is_urgent(body);
    Msg__Actor down = message_down_actor(body);
    CHECK(down == MSG__ACTOR__NONE || urgent);
    Msg__Message *m = unpack_message(&msg__message__descriptor, body, &status);
    CHECK((m != NULL) == (status == EW_OK));
    if (!m)
        return;
    CHECK(urgent || !has_urgent(m));
    CHECK(down == MSG__ACTOR__NONE || m->down);
    if (m->base.n_unknown_fields == 0) { /* a newer program's messages may have any form */
        CHECK(urgent == has_urgent(m));
    }
    msg__message__free_unpacked(m, NULL);
}

/* Builds the submit again with the functions that another program has for it. */
static ew_submit *make_submit(const Msg__Submit *m) {
    ew_submit *s = ew_submit_new();
    for (size_t i = 0; i < m->n_compares; i++) {
        ew_slice key = slice_of(m->compares[i]->key), value = slice_of(m->compares[i]->value);
        CHECK((m->compares[i]->absent ? ew_submit_if_absent(s, key) : ew_submit_if_value(s, key, value)) == EW_OK);
    }
    for (size_t i = 0; i < m->n_puts; i++)
        CHECK(ew_submit_put(s, slice_of(m->puts[i]->key), slice_of(m->puts[i]->value)) == EW_OK);
    for (size_t i = 0; i < m->n_deletes; i++)
        CHECK(ew_submit_delete(s, slice_of(m->deletes[i])) == EW_OK);
    return s;
}

/* A worker must refuse what the library refuses to send. */
static bool identity_is_sound(const Msg__Submit *m) {
    enum { CLIENT_MAX = 64 };
    return m->client.len > 0 ? m->client.len <= CLIENT_MAX && m->sequence > 0 : m->sequence == 0;
}

static void check_same(const Msg__Submit *a, const Msg__Submit *b) {
    CHECK(a->sequence == b->sequence && ew_slice_equal(slice_of(a->client), slice_of(b->client)));
    CHECK(a->n_compares == b->n_compares && a->n_puts == b->n_puts && a->n_deletes == b->n_deletes);
    for (size_t i = 0; i < a->n_compares; i++) {
        const Msg__Submit__Compare *x = a->compares[i], *y = b->compares[i];
        CHECK(!x->absent == !y->absent && ew_slice_equal(slice_of(x->key), slice_of(y->key)));
        CHECK(x->absent || ew_slice_equal(slice_of(x->value), slice_of(y->value)));
    }
    for (size_t i = 0; i < a->n_puts; i++) {
        CHECK(ew_slice_equal(slice_of(a->puts[i]->key), slice_of(b->puts[i]->key)));
        CHECK(ew_slice_equal(slice_of(a->puts[i]->value), slice_of(b->puts[i]->value)));
    }
    for (size_t i = 0; i < a->n_deletes; i++)
        CHECK(ew_slice_equal(slice_of(a->deletes[i]), slice_of(b->deletes[i])));
}

static void read_submit(ew_slice body) {
    int status;
    void *again;
    size_t size;
    Msg__Submit *m = unpack_message(&msg__submit__descriptor, body, &status);
    CHECK(m || status == EW_ERR_BAD_MESSAGE);
    if (!m)
        return;
    ew_submit *s = make_submit(m);
    int identified = ew_submit_identity(s, slice_of(m->client), m->sequence);
    int packed = ew_submit_pack(s, &again, &size);
    ew_submit_free(s);
    CHECK(identified == (identity_is_sound(m) ? EW_OK : EW_ERR_INVALID) && packed == identified);
    if (packed != EW_OK) {
        msg__submit__free_unpacked(m, NULL);
        return;
    }
    Msg__Submit *copy = unpack_message(&msg__submit__descriptor, (ew_slice){again, size}, &status);
    CHECK(copy);
    check_same(m, copy);
    msg__submit__free_unpacked(copy, NULL);
    msg__submit__free_unpacked(m, NULL);
    free(again);
}

static void read_reply(ew_slice body) {
    ew_submit_reply reply, untouched;
    memset(&reply, 0x5a, sizeof reply);
    memset(&untouched, 0x5a, sizeof untouched);
    int status = ew_submit_reply_unpack(body.data, body.len, &reply);
    CHECK(status == EW_OK || status == EW_ERR_BAD_MESSAGE);
    if (status == EW_OK)
        CHECK(memchr(reply.detail, '\0', sizeof reply.detail));
    else
        CHECK(memcmp(&reply, &untouched, sizeof reply) == 0);
}

static void read_note(ew_slice body) {
    int why;
    ew_tick_note note = {.size = sizeof note};
    int status = ew_tick_note_unpack(body.data, body.len, &note);
    Msg__TickNote *m = unpack_message(&msg__tick_note__descriptor, body, &why);
    CHECK(status == why);
    if (!m)
        return;
    CHECK(note.number == m->number && note.revision == m->revision && note.groups == m->groups);
    msg__tick_note__free_unpacked(m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    ew_slice body = {data + 1, size - 1};
    switch (data[0] % 4) {
    case 0:
        read_submit(body);
        break;
    case 1:
        read_reply(body);
        break;
    case 2:
        read_note(body);
        break;
    default:
        read_message(body);
    }
    return 0;
}
