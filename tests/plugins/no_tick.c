/* A plugin of the right version whose table is not complete. */
#include <etcdworker/reactor.h>

static const ew_reactor reactor = EW_REACTOR(.tick = NULL);

EW_API extern const ew_plugin etcdworker_plugin;
const ew_plugin etcdworker_plugin = {.abi = EW_PLUGIN_ABI, .name = "no tick", .reactor = &reactor};
