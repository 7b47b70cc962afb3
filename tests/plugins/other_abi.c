/* A plugin of a future version. */
#include <etcdworker/reactor.h>

EW_API extern const ew_plugin etcdworker_plugin;
const ew_plugin etcdworker_plugin = {.abi = EW_PLUGIN_ABI + 1, .name = "from the future"};
