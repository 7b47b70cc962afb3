#include "service/plugin.h"

#include <dlfcn.h>

static int check(const char *path, const ew_plugin *table, ew_error *err) {
    if (table->abi != EW_PLUGIN_ABI)
        return ew_fail(err, EW_ERR_INVALID, "%s: built for plugin ABI %u, but this etcdworkerd has ABI %u", path,
                       (unsigned)table->abi, (unsigned)EW_PLUGIN_ABI);
    if (!table->name || !table->reactor || !table->reactor->tick)
        return ew_fail(err, EW_ERR_INVALID, "%s: the plugin table has no name, or no reactor with a tick", path);
    return EW_OK;
}

int plugin_load(plugin *out, const char *path, ew_error *err) {
    *out = (plugin){.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!out->handle)
        return ew_fail(err, EW_ERR_INVALID, "%s", dlerror()); /* the text contains the path */
    out->table = dlsym(out->handle, EW_PLUGIN_SYMBOL);
    int status = out->table ? check(path, out->table, err)
                            : ew_fail(err, EW_ERR_INVALID,
                                      "%s: no symbol " EW_PLUGIN_SYMBOL "; define it with EW_PLUGIN(...), which also "
                                      "adds the extern \"C\" that C++ needs",
                                      path);
    if (status != EW_OK)
        plugin_unload(out);
    return status;
}

void plugin_unload(plugin *p) {
    if (p->handle)
        dlclose(p->handle);
    *p = (plugin){0};
}
