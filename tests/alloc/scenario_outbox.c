/* An outbox whose mailbox does not read: terminal messages are kept for it, also without memory. */
#include "alloc/scenario.h"

#include "actors/mailbox.h"
#include "etcd/etcd.h"

enum { MOST = 14, LIMIT_MS = 10000 };

static int send_progress(outbox *ob, int64_t n) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Progress progress = MSG__PROGRESS__INIT;
    progress.revision = n;
    m.progress = &progress;
    return alloc_failed(outbox_send(ob, &m), "outbox_send", &(ew_error){0});
}

static void send_last_words(outbox *ob) {
    Msg__Session session = MSG__SESSION__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    Msg__Down down = MSG__DOWN__INIT;
    Msg__Message words[3] = {MSG__MESSAGE__INIT, MSG__MESSAGE__INIT, MSG__MESSAGE__INIT};
    words[0].session = &session;
    words[1].stop = &stop;
    words[2].down = &down;
    for (int i = 0; i < 3; i++)
        if (outbox_send(ob, &words[i]) != EW_OK)
            alloc_problem("terminal message %d was not accepted", i);
}

/* Reads until the last terminal message. Returns how many other messages came, in order. */
static int read_all(mailbox *mb) {
    int64_t deadline_ms = etcd_now_ms() + LIMIT_MS, newest = 0;
    int others = 0, last_words = 0;
    while (last_words < 3) {
        mailbox_message raw;
        if (!mailbox_take(mb, &raw)) {
            if (etcd_now_ms() > deadline_ms) {
                alloc_problem("%d of 3 terminal messages came", last_words);
                return others;
            }
            mailbox_wait(mb, deadline_ms, false);
            continue;
        }
        Msg__Message *m = WITHOUT_FAILURE(msg__message__unpack(NULL, raw.body.len, raw.body.data));
        if (m->progress && m->progress->revision <= newest)
            alloc_problem("message %lld came after %lld", (long long)m->progress->revision, (long long)newest);
        newest = m->progress ? m->progress->revision : newest;
        others += m->progress != NULL;
        last_words += m->session || m->stop || m->down;
        msg__message__free_unpacked(m, NULL);
        mailbox_message_free(&raw);
    }
    return others;
}

/* Each round sends more messages before the terminal ones, so that in one round the terminal messages are the first
 * that find no space. */
void alloc_run_outbox(void) {
    static unsigned urls;
    for (int before = 0; before < MOST; before++) {
        char url[64];
        mailbox *mb;
        outbox *ob;
        int taken = 0;
        snprintf(url, sizeof url, "inproc://alloc/outbox-%u", urls++);
        TRY(mailbox_open(&mb, url, 1, NULL, NULL, &err));
        TRY(outbox_open(&ob, url, 1, NULL, NULL, &err));
        for (int n = 1; n <= before; n++)
            taken += send_progress(ob, n) == EW_OK;
        send_last_words(ob);
        int came = read_all(mb);
        if (came != taken)
            alloc_problem("%d messages were accepted, %d came", taken, came);
        outbox_close(ob);
        mailbox_close(mb);
    }
}
