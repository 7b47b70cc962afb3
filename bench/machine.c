#include "machine.h"

#include <etcdworker/version.h>

#include <dlfcn.h>
#include <linux/magic.h>
#include <nng/nng.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Writes the text after `name` and a colon in a file of /proc to `out`; "unknown" if there is none. */
static void field_of(const char *path, const char *name, char *out, size_t size) {
    char line[512];
    FILE *f = fopen(path, "re");
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, name, strlen(name)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (f)
        fclose(f);
}

json_t *machine_describe(void) {
    char cpu[128], memory[64], kernel[256];
    struct utsname u;
    field_of("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    field_of("/proc/meminfo", "MemTotal", memory, sizeof memory);
    if (uname(&u) == 0)
        snprintf(kernel, sizeof kernel, "%.60s %.60s %.60s", u.sysname, u.release, u.machine);
    else
        snprintf(kernel, sizeof kernel, "unknown");
    double load[1] = {0};
    if (getloadavg(load, 1) != 1)
        load[0] = -1;
    return json_pack("{s: s, s: i, s: I, s: s, s: f}", "cpu", cpu, "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "memory_kb", (json_int_t)strtoll(memory, NULL, 10), "kernel", kernel, "load_at_start", load[0]);
}

/* Returns gRPC's version. Uses dlsym, because only the client layer includes gRPC's headers. */
static const char *grpc_version(void) {
    const char *(*version)(void);
    *(void **)&version = dlsym(RTLD_DEFAULT, "grpc_version_string");
    return version ? version() : "unknown";
}

json_t *machine_versions(const char *etcd) {
    return json_pack("{s: s, s: s, s: s, s: s, s: s, s: s}", "etcdworker", ew_version(), "etcd", etcd, "grpc",
                     grpc_version(), "nng", nng_version(), "protobuf-c", protobuf_c_version(), "compiler", __VERSION__);
}

json_t *machine_options(const bench *b) {
    json_t *sets = json_array();
    for (int i = 0; i < b->set_count; i++)
        json_array_append_new(sets, json_string(b->sets[i]));
    return json_pack("{s: s, s: s, s: i, s: b, s: b, s: i, s: o}", "etcd", b->etcd, "data",
                     strcmp(b->etcd, "dev") != 0 ? "external"
                     : b->in_memory              ? "memory"
                                                 : "disk",
                     "runs", b->runs, "smoke", b->smoke, "plain", b->plain, "cpu", b->cpu, "set", sets);
}

bool machine_is_memory(const char *directory, uint64_t bytes) {
    struct statfs s;
    return access(directory, W_OK) == 0 && statfs(directory, &s) == 0 && s.f_type == TMPFS_MAGIC &&
           (uint64_t)s.f_bavail * (uint64_t)s.f_bsize >= bytes;
}
