/* A reactor that hands out numbered tickets, as a plugin for etcdworkerd. A client puts the key /tickets/wanted/NAME
 * and gets the key /tickets/given/NUMBER, whose value is NAME. Any number of workers may run it. The promise: numbers
 * begin at 1, none is left out, and each request gets one.
 *
 *     cc -shared -fPIC -o tickets.so plugin_tickets.c
 *     etcdworkerd --dev --prefix=/tickets --reactor=./tickets.so */
#include <etcdworker/reactor.h>

#include <stdio.h>

#define LAST   EW_STR("/tickets/last")
#define WANTED EW_STR("/tickets/wanted/")

static int tick(void *self, ew_tick *t) {
    (void)self;
    ew_entry last, wanted = {0};
    int64_t number = 0;
    if (!ew_tick_scan(t, WANTED, &wanted))
        return EW_OK;
    if (ew_tick_get(t, LAST, &last) == EW_OK && !ew_slice_int(last.value, &number))
        return ew_tick_fail(t, EW_ERR_REACTOR, "the value of /tickets/last is not a number");
    char text[24], given[48];
    snprintf(text, sizeof text, "%lld", (long long)number + 1);
    snprintf(given, sizeof given, "/tickets/given/%s", text);
    const ew_slice name = {(const char *)wanted.key.data + WANTED.len, wanted.key.len - WANTED.len};

    ew_group *g = ew_tick_group(t); /* one transaction: all of it, or nothing */
    ew_group_expect(g, LAST);       /* if another worker was faster, the group is dropped, */
    ew_group_expect(g, wanted.key); /* and the next tick decides again */
    ew_group_put(g, LAST, ew_str(text));
    ew_group_put(g, ew_str(given), name);
    ew_group_delete(g, wanted.key);
    return EW_OK; /* the next tick sees this commit, and gives the next ticket */
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

EW_PLUGIN(.name = "tickets", .reactor = &reactor);
