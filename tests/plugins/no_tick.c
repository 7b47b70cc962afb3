/* A plugin of the right version with an incomplete table. */
#include <etcdworker/reactor.h>

static const ew_reactor reactor = EW_REACTOR(.tick = NULL);

EW_PLUGIN(.name = "no tick", .reactor = &reactor);
