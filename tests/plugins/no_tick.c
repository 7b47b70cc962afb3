/* A plugin of the right version whose table is not complete. */
#include <etcdworker/reactor.h>

static const ew_reactor reactor = EW_REACTOR(.tick = NULL);

EW_PLUGIN(.name = "no tick", .reactor = &reactor);
