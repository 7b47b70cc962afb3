/* Seats: a member takes a free seat if its tick has seen the member on no seat. So no member ever has two seats,
 * although the groups that take them write different keys, if and only if a group that expects what its tick read
 * notices a key that was added to a scanned range (SEMANTICS 37). */
#include "scenario.h"

enum { SEATS = SEEN_MAX, MEMBERS = 3 };

static uint64_t taken_by(const ew_entry *e) {
    return (uint64_t)number_of(e->value);
}

static void note_seats(record *r, const ew_tick *t) {
    ew_entry e;
    for (uint64_t i = 0; i < SEATS; i++) {
        as_seen *x = &r->seen[r->seen_count++];
        write_name(x->key, "seat", i);
        x->mod_revision = ticking_peek(t, ew_str(x->key), &e) == EW_OK ? e.mod_revision : 0;
    }
}

void seats_decide(record *r, const ew_tick *t, ew_group *g) {
    const uint64_t member = r->dice % MEMBERS, wanted = (r->dice >> 8) % SEATS;
    char key[32], text[24];
    ew_entry e = {0};
    bool seated = false;
    note_seats(r, t);
    write_name(key, "seat", wanted);
    bool is_free = true;
    while (ew_tick_scan(t, EW_STR("/app/seat/"), &e)) {
        is_free = is_free && !ew_slice_equal(e.key, ew_str(key));
        if (taken_by(&e) != member || seated)
            continue;
        seated = true;
        if (r->dice >> 16 & 1)
            ew_group_delete(g, e.key);
    }
    write_digits(text, member);
    if (!seated && is_free)
        ew_group_put(g, ew_str(key), ew_str(text));
    ew_group_expect_reads(g);
}

void seats_check_tick(const actor *a, const ew_tick *t) {
    ew_sim *sim = a->scenario->sim;
    int seats[MEMBERS] = {0};
    ew_entry e = {0};
    while (sim->sampled.lose_events == 0 && ticking_peek_scan(t, EW_STR("/app/seat/"), &e))
        if (++seats[taken_by(&e) % MEMBERS] > 1)
            ew_sim_fail(sim, "worker %d sees member %d on two seats", a->worker, (int)taken_by(&e));
}

/* Another client: frees a seat, or gives a seat to a member without one. */
void seats_write(scenario *sc) {
    char key[32], text[24];
    ew_entry e;
    uint64_t member = (uint64_t)sim_between(&sc->random, 0, MEMBERS - 1);
    const uint64_t seat = (uint64_t)sim_between(&sc->random, 0, SEATS - 1);
    for (uint64_t i = 0; i < SEATS; i++) {
        write_name(key, "seat", i);
        if (ew_sim_get(sc->sim, ew_str(key), &e) == EW_OK && taken_by(&e) == member)
            member = MEMBERS;
    }
    write_name(key, "seat", seat);
    if (ew_sim_get(sc->sim, ew_str(key), &e) == EW_OK) {
        ew_sim_delete(sc->sim, ew_str(key));
    } else if (member < MEMBERS) {
        write_digits(text, member);
        ew_sim_put(sc->sim, ew_str(key), ew_str(text));
    }
}
