/* Packs and unpacks the messages of other nng applications, for programs that do not use protobuf (<etcdworker/nng.h>).
 */
#include "actors/message.h"
#include "core/argument.h"
#include "core/submit_clients.h"
#include "core/unpack.h"

#include <etcdworker/nng.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

struct ew_submit {
    Msg__Submit message; /* owns its lists and bytes, except the client's id, which is `client` */
    uint8_t client[SUBMIT_CLIENT_ID_MAX];
    int status;
};

/* ---- identities ---- */

/* Each thread acts as SLOTS clients in turn, so that up to SLOTS of its submits may be outstanding, and decided in any
 * order. */
enum { RANDOM_BYTES = 16, SLOTS = 64 };
_Static_assert(RANDOM_BYTES + 1 <= SUBMIT_CLIENT_ID_MAX, "an id fits the bound of Submit.client");
_Static_assert(SLOTS <= UINT8_MAX + 1, "a slot is one byte of an id");

static _Thread_local struct {
    pid_t pid; /* a child after fork() is another client */
    uint8_t random[RANDOM_BYTES];
    uint64_t count;
} self;

static bool know_self(void) {
    pid_t pid = getpid();
    if (self.pid == pid)
        return true;
    if (getrandom(self.random, sizeof self.random, 0) != (ssize_t)sizeof self.random)
        return false;
    self.pid = pid;
    self.count = 0;
    return true;
}

static void identify(ew_submit *s, ew_slice client, uint64_t sequence) {
    if (client.len > 0)
        memcpy(s->client, client.data, client.len);
    s->message.client = (ProtobufCBinaryData){client.len, client.len > 0 ? s->client : NULL};
    s->message.sequence = sequence;
}

ew_submit *ew_submit_new(void) {
    ew_submit *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    msg__submit__init(&s->message);
    if (!know_self()) {
        s->status = EW_ERR_SYSTEM; /* getrandom failed */
        return s;
    }
    uint8_t client[RANDOM_BYTES + 1];
    memcpy(client, self.random, RANDOM_BYTES);
    client[RANDOM_BYTES] = (uint8_t)(self.count % SLOTS);
    identify(s, (ew_slice){client, sizeof client}, self.count / SLOTS + 1);
    self.count++;
    return s;
}

void ew_submit_free(ew_submit *s) {
    if (!s)
        return;
    Msg__Submit *m = &s->message;
    for (size_t i = 0; i < m->n_compares; i++)
        protobuf_c_message_free_unpacked((ProtobufCMessage *)m->compares[i], NULL);
    for (size_t i = 0; i < m->n_puts; i++)
        protobuf_c_message_free_unpacked((ProtobufCMessage *)m->puts[i], NULL);
    for (size_t i = 0; i < m->n_deletes; i++)
        free(m->deletes[i].data);
    free(m->compares);
    free(m->puts);
    free(m->deletes);
    free(s);
}

static int fail(ew_submit *s) {
    s->status = EW_ERR_NO_MEMORY;
    return s->status;
}

static bool copy(ProtobufCBinaryData *out, ew_slice s) {
    out->data = malloc(s.len > 0 ? s.len : 1);
    if (!out->data)
        return false;
    if (s.len > 0)
        memcpy(out->data, s.data, s.len);
    out->len = s.len;
    return true;
}

/* Reallocates a list for one more element of `size` bytes; NULL when out of memory. */
static void *grown(void *list, size_t count, size_t size) {
    return realloc(list, (count + 1) * size);
}

/* `s` is NULL if ew_submit_new was out of memory. */
static int status_of(const ew_submit *s) {
    return s ? s->status : EW_ERR_NO_MEMORY;
}

ew_status ew_submit_identity(ew_submit *s, ew_slice client, uint64_t sequence) {
    int status = status_of(s);
    if (status != EW_OK)
        return status;
    bool none = client.len == 0 && sequence == 0;
    if (!none && (client.len == 0 || client.len > SUBMIT_CLIENT_ID_MAX || sequence == 0))
        return s->status = EW_ERR_INVALID;
    identify(s, client, sequence);
    return EW_OK;
}

ew_status ew_submit_put(ew_submit *s, ew_slice key, ew_slice value) {
    int status = status_of(s);
    if (status != EW_OK)
        return status;
    Msg__Submit__Put *put = calloc(1, sizeof *put);
    Msg__Submit__Put **list = grown(s->message.puts, s->message.n_puts, sizeof *list);
    if (list)
        s->message.puts = list;
    if (put)
        msg__submit__put__init(put);
    if (!put || !list || !copy(&put->key, key) || !copy(&put->value, value)) {
        protobuf_c_message_free_unpacked((ProtobufCMessage *)put, NULL);
        return fail(s);
    }
    list[s->message.n_puts++] = put;
    return EW_OK;
}

ew_status ew_submit_delete(ew_submit *s, ew_slice key) {
    int status = status_of(s);
    if (status != EW_OK)
        return status;
    ProtobufCBinaryData *list = grown(s->message.deletes, s->message.n_deletes, sizeof *list);
    if (list)
        s->message.deletes = list;
    if (!list || !copy(&list[s->message.n_deletes], key))
        return fail(s);
    s->message.n_deletes++;
    return EW_OK;
}

static int compare(ew_submit *s, ew_slice key, bool absent, ew_slice value) {
    int status = status_of(s);
    if (status != EW_OK)
        return status;
    Msg__Submit__Compare *c = calloc(1, sizeof *c);
    Msg__Submit__Compare **list = grown(s->message.compares, s->message.n_compares, sizeof *list);
    if (list)
        s->message.compares = list;
    if (c)
        msg__submit__compare__init(c);
    if (!c || !list || !copy(&c->key, key) || !copy(&c->value, value)) {
        protobuf_c_message_free_unpacked((ProtobufCMessage *)c, NULL);
        return fail(s);
    }
    c->absent = absent;
    list[s->message.n_compares++] = c;
    return EW_OK;
}

ew_status ew_submit_if_value(ew_submit *s, ew_slice key, ew_slice value) {
    return compare(s, key, false, value);
}

ew_status ew_submit_if_absent(ew_submit *s, ew_slice key) {
    return compare(s, key, true, (ew_slice){0});
}

ew_status ew_submit_pack(const ew_submit *s, void **body, size_t *size) {
    if (ARGUMENT_MISSING(body, NULL) || ARGUMENT_MISSING(size, NULL))
        return EW_ERR_INVALID;
    *body = NULL;
    *size = 0;
    int status = status_of(s);
    if (status != EW_OK)
        return status;
    size_t n = msg__submit__get_packed_size(&s->message);
    *body = malloc(n > 0 ? n : 1);
    if (!*body)
        return EW_ERR_NO_MEMORY;
    *size = msg__submit__pack(&s->message, *body);
    return EW_OK;
}

/* Copies as much of a struct as the caller's version of it has. */
static void give(void *out, size_t out_size, const void *all, size_t size) {
    memcpy(out, all, out_size < size ? out_size : size);
}

ew_status ew_submit_reply_unpack(const void *body, size_t size, ew_submit_reply *out) {
    if (ARGUMENT_MISSING(body, NULL) || ARGUMENT_MISSING(out, NULL) || out->size < sizeof out->size)
        return EW_ERR_INVALID;
    int status;
    Msg__SubmitReply *m = unpack_message(&msg__submit_reply__descriptor, (ew_slice){body, size}, &status);
    if (!m)
        return status;
    ew_submit_reply all = {.size = out->size, .status = m->status, .revision = m->revision};
    snprintf(all.detail, sizeof all.detail, "%s", m->detail);
    give(out, out->size, &all, sizeof all);
    msg__submit_reply__free_unpacked(m, NULL);
    return EW_OK;
}

ew_status ew_tick_note_unpack(const void *body, size_t size, ew_tick_note *out) {
    if (ARGUMENT_MISSING(body, NULL) || ARGUMENT_MISSING(out, NULL) || out->size < sizeof out->size)
        return EW_ERR_INVALID;
    int status;
    Msg__TickNote *m = unpack_message(&msg__tick_note__descriptor, (ew_slice){body, size}, &status);
    if (!m)
        return status;
    const ew_tick_note all = {out->size, m->number, m->revision, m->groups};
    give(out, out->size, &all, sizeof all);
    msg__tick_note__free_unpacked(m, NULL);
    return EW_OK;
}
