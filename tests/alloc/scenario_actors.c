/* The watcher and the committer alone, as an application embeds them that acts as their peer. */
#include "alloc/scenario.h"

#include "actors/mailbox.h"
#include "etcd/etcd.h"

#include <etcdworker/actor.h>

enum { ANSWER_MS = 10000, ROOM = 8 };

#define KEY "/alone/a"

typedef int (*start_fn)(ew_actor **, ew_client *, const ew_options *, const char *, const char *, ew_error *);

typedef struct peer {
    char url[64], actor_url[64];
    mailbox *mb;
    outbox *ob; /* to the actor */
    bool down;  /* the actor's DOWN has come */
} peer;

/* Returns what the next message says: the status of an outcome or of the actor's end; EW_OK for the last page of a
 * snapshot; EW_END for any other message. */
static int read_message(peer *p) {
    int64_t deadline_ms = etcd_now_ms() + ANSWER_MS;
    mailbox_message raw;
    int status = EW_END;
    while (!mailbox_take(p->mb, &raw)) {
        if (etcd_now_ms() > deadline_ms) {
            alloc_problem("an actor sends nothing");
            return EW_ERR_TIMEOUT;
        }
        mailbox_wait(p->mb, deadline_ms, false);
    }
    Msg__Message *m = WITHOUT_FAILURE(msg__message__unpack(NULL, raw.body.len, raw.body.data));
    p->down = m->down != NULL;
    if (m->down)
        status = m->down->status;
    else if (m->outcome)
        status = m->outcome->status;
    else if (m->snapshot && m->snapshot->last)
        status = EW_OK;
    msg__message__free_unpacked(m, NULL);
    mailbox_message_free(&raw);
    return status;
}

static int read_answer(peer *p) {
    int status;
    do
        status = read_message(p);
    while (status == EW_END);
    return status;
}

/* ---- requests ---- */

static void ask_nothing(peer *p) {
    (void)p;
}

static void ask_put(peer *p) {
    uint8_t bytes[256];
    Msg__Unit unit = MSG__UNIT__INIT, *units = &unit;
    Msg__Patches patches = MSG__PATCHES__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    unit.txn = (ProtobufCBinaryData){client_pack_put(bytes, sizeof bytes, KEY, EW_STR("1"), 0), bytes};
    unit.groups = unit.compares = unit.ops = 1;
    patches.batch = patches.n_units = 1;
    patches.units = &units;
    m.patches = &patches;
    TRY(outbox_send(p->ob, &m));
}

static void ask_stop(peer *p) {
    Msg__Stop stop = MSG__STOP__INIT;
    Msg__Message m = MSG__MESSAGE__INIT;
    stop.timeout_ms = 1000;
    m.stop = &stop;
    TRY(outbox_send(p->ob, &m));
}

/* ---- a run ---- */

static int live(ew_client *client, const ew_options *o, start_fn start, void (*ask)(peer *)) {
    static unsigned urls;
    peer p = {0};
    ew_actor *actor = NULL;
    snprintf(p.url, sizeof p.url, "inproc://alloc/peer-%u", urls);
    snprintf(p.actor_url, sizeof p.actor_url, "inproc://alloc/actor-%u", urls++);
    TRY(mailbox_open(&p.mb, p.url, ROOM, NULL, NULL, &err));
    int status = alloc_failed(start(&actor, client, o, p.actor_url, p.url, &err), "start", &err);
    if (status == EW_OK) {
        TRY(outbox_open(&p.ob, p.actor_url, ROOM, NULL, NULL, &err));
        ask(&p);
        status = alloc_failed(read_answer(&p), "the actor", &(ew_error){0});
        if (!p.down)
            ask_stop(&p);
        while (!p.down && read_message(&p) != EW_ERR_TIMEOUT)
            ;
        int end = alloc_failed(ew_actor_close(actor, &err), "ew_actor_close", &err);
        status = status == EW_OK ? end : status;
    }
    outbox_close(p.ob);
    mailbox_close(p.mb);
    return status;
}

static void live_well(ew_client *client, start_fn start, void (*ask)(peer *)) {
    ew_options *o = alloc_options();
    TRY(ew_options_set(o, "prefix", "/alone", &err));
    WITHOUT_FAILURE(client_delete(KEY));
    if (live(client, o, start, ask) != EW_OK) {
        WITHOUT_FAILURE(client_delete(KEY));
        if (live(client, o, start, ask) != EW_OK)
            alloc_problem("an actor failed twice: %s", err.detail);
    }
    ew_options_free(o);
}

void alloc_run_actors(void) {
    ew_client *client = alloc_client(alloc_options());
    live_well(client, ew_watcher_open, ask_nothing);
    live_well(client, ew_committer_open, ask_put);
    if (!WITHOUT_FAILURE(client_get(KEY)).present)
        alloc_problem("the committer's put is missing");
    ew_client_close(client);
}
