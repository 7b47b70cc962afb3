/* Common to calls and streams: new revisions of etcd. */
#include "sim/check.h"
#include "sim/network_internal.h"

bool sim_away(const ew_sim *s) {
    return sim_now(s) < s->away_until_ms;
}

static void lease_expiry(void *arg) {
    ew_sim *s = arg;
    etcd_model_advance(s->etcd, sim_now(s));
    sim_network_changed(s, (sim_author){0});
}

void sim_network_changed(ew_sim *s, sim_author author) {
    int64_t newest = etcd_model_revision(s->etcd);
    sim_reserve(s->authors, s->author_capacity, (size_t)newest + 1);
    while (s->authored < newest) {
        s->authors[++s->authored] = author;
        check_revision(s, s->authored);
    }
    sim_streams_look(s);
    sim_schedule_drop(&s->schedule, &s->etcd);
    int64_t next = etcd_model_next_expiry_ms(s->etcd);
    if (next != INT64_MAX)
        sim_at(s, next, lease_expiry, s, &s->etcd);
}

void sim_network_lose_all(ew_sim *s) {
    sim_network_break_all(s);
    sim_calls_lose(s);
}

void sim_network_forget(sim_worker *w) {
    sim_calls_forget(w);
    sim_streams_forget(w);
}

void sim_network_free(ew_sim *s) {
    sim_calls_free(s);
    sim_streams_free(s);
}
