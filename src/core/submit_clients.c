/* A failed allocation inside uthash leaves the element out instead of ending the process. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((void)(element))

#include "core/submit_clients.h"

#include "core/unpack.h"

#include <stdlib.h>

void submit_clients_fini(submit_clients *clients) {
    submit_client *client, *next;
    HASH_ITER(hh, clients->table, client, next) {
        HASH_DEL(clients->table, client);
        free(client);
    }
    clients->table = NULL;
}

submit_client *submit_clients_find(const submit_clients *clients, ew_slice id) {
    submit_client *client;
    HASH_FIND(hh, clients->table, id.data, id.len, client);
    return client;
}

/* <receipt_prefix>/submit/<id in hex>, so that any bytes make a printable key. */
static submit_client *make_client(ew_slice receipt_prefix, ew_slice id) {
    static const char middle[] = "/submit/", digits[] = "0123456789abcdef";
    const size_t key_len = receipt_prefix.len + sizeof middle - 1 + 2 * id.len;
    submit_client *client = malloc(sizeof *client + id.len + key_len);
    if (!client)
        return NULL;
    uint8_t *bytes = (uint8_t *)(client + 1), *key = bytes + id.len;
    *client = (submit_client){.id = {bytes, id.len}, .key = {key, key_len}};
    memcpy(bytes, id.data, id.len);
    if (receipt_prefix.len)
        memcpy(key, receipt_prefix.data, receipt_prefix.len);
    memcpy(key + receipt_prefix.len, middle, sizeof middle - 1);
    key += receipt_prefix.len + sizeof middle - 1;
    for (size_t i = 0; i < id.len; i++) {
        *key++ = (uint8_t)digits[bytes[i] >> 4];
        *key++ = (uint8_t)digits[bytes[i] & 15];
    }
    return client;
}

static void forget_one(submit_clients *clients) {
    submit_client *client, *next;
    HASH_ITER(hh, clients->table, client, next) {
        if (client->pending > 0)
            continue;
        HASH_DEL(clients->table, client);
        free(client);
        return;
    }
}

/* Appends the client to the table; NULL when out of memory, and the client is freed. */
static submit_client *place_client(submit_clients *clients, submit_client *client) {
    HASH_ADD_KEYPTR(hh, clients->table, client->id.data, client->id.len, client);
    if (client->hh.tbl)
        return client;
    free(client);
    return NULL;
}

submit_client *submit_clients_get(submit_clients *clients, ew_slice receipt_prefix, ew_slice id) {
    submit_client *client = submit_clients_find(clients, id);
    if (client && (client->pending > 0 || !client->hh.next))
        return client; /* groups point to it, or it is the last one already */
    if (client) {
        HASH_DEL(clients->table, client);
        memset(&client->hh, 0, sizeof client->hh);
        return place_client(clients, client);
    }
    if (HASH_COUNT(clients->table) >= SUBMIT_CLIENTS_MAX)
        forget_one(clients);
    client = make_client(receipt_prefix, id);
    return client ? place_client(clients, client) : NULL;
}

int submit_client_learn(submit_client *client, int64_t mod_revision, ew_slice value, uint64_t sequence) {
    client->record_revision = mod_revision;
    if (mod_revision == 0)
        return EW_OK; /* the record has expired; what else is known is kept */
    int status;
    Msg__SubmitRecord *r = unpack_message(&msg__submit_record__descriptor, value, &status);
    if (status == EW_ERR_NO_MEMORY)
        return status;
    bool sound = r && r->sequence > 0 && (r->status == EW_OK || r->status == EW_ERR_REFUSED);
    if (sound && r->sequence >= client->sequence) {
        client->sequence = r->sequence;
        client->digest = r->digest;
        client->status = r->status;
        client->revision = r->status == EW_OK ? mod_revision : r->revision;
    } else if (!sound && sequence > client->sequence) {
        client->sequence = sequence;
        client->digest = 0;
        client->status = EW_ERR_UNKNOWN_OUTCOME;
        client->revision = 0;
    }
    if (r)
        msg__submit_record__free_unpacked(r, NULL);
    return sound ? EW_OK : EW_ERR_BAD_MESSAGE;
}

/* FNV-1a of the lengths and the bytes. */
static void mix(uint64_t *hash, const void *bytes, size_t len) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < sizeof len; i++)
        *hash = (*hash ^ ((len >> (8 * i)) & 0xff)) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < len; i++)
        *hash = (*hash ^ at[i]) * UINT64_C(0x100000001b3);
}

uint64_t submit_digest(const Msg__Submit *s) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    mix(&hash, "", s->n_compares ? 1 : 0);
    for (size_t i = 0; i < s->n_compares; i++) {
        const Msg__Submit__Compare *c = s->compares[i];
        mix(&hash, c->key.data, c->key.len);
        mix(&hash, c->absent ? "a" : "v", 1);
        mix(&hash, c->value.data, c->value.len);
    }
    mix(&hash, "p", 1);
    for (size_t i = 0; i < s->n_puts; i++) {
        mix(&hash, s->puts[i]->key.data, s->puts[i]->key.len);
        mix(&hash, s->puts[i]->value.data, s->puts[i]->value.len);
    }
    mix(&hash, "d", 1);
    for (size_t i = 0; i < s->n_deletes; i++)
        mix(&hash, s->deletes[i].data, s->deletes[i].len);
    return hash;
}
