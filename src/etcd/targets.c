#include "etcd/targets.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

/* As a part of a URI's path. */
static void write_escaped(FILE *out, const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/";
    for (; *text; text++)
        fprintf(out, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
}

typedef struct tcp_list {
    FILE *out;
    size_t count;
    bool ipv6; /* the scheme: one IPv6 address makes all of them IPv6 */
} tcp_list;

static void write_address(tcp_list *l, const char *text, bool ipv6, int port) {
    fputs(l->count++ > 0 ? "," : "", l->out);
    if (!l->ipv6) {
        fprintf(l->out, "%s:%d", text, port);
        return;
    }
    /* gRPC's URIs do not take bare brackets. An IPv4 address is written as the IPv6 address that stands for it: gRPC's
     * sockets serve both, and where there is no IPv6 they are IPv4's. */
    fputs(ipv6 ? "%5B" : "%5B::ffff:", l->out);
    write_escaped(l->out, text);
    fprintf(l->out, "%%5D:%d", port);
}

static void write_endpoint(tcp_list *l, const endpoint *e) {
    if (e->kind == ENDPOINT_IPV4 || e->kind == ENDPOINT_IPV6)
        write_address(l, e->host, e->kind == ENDPOINT_IPV6, e->port);
    for (size_t i = 0; i < e->address_count; i++)
        write_address(l, e->addresses[i].text, e->addresses[i].ipv6, e->port);
}

static bool has_ipv6(const endpoints *e) {
    bool any = false;
    for (size_t i = 0; i < e->count; i++) {
        any |= e->list[i].kind == ENDPOINT_IPV6;
        for (size_t k = 0; k < e->list[i].address_count; k++)
            any |= e->list[i].addresses[k].ipv6;
    }
    return any;
}

static bool write_tcp(const endpoints *e, targets *t) {
    size_t size;
    tcp_list l = {.ipv6 = has_ipv6(e), .out = open_memstream(&t->ways[t->count], &size)};
    if (!l.out)
        return false;
    t->count++;
    fputs(l.ipv6 ? "ipv6:///" : "ipv4:///", l.out);
    for (size_t i = 0; i < e->count; i++)
        write_endpoint(&l, &e->list[i]);
    t->addresses += l.count;
    return fclose(l.out) == 0;
}

static bool write_unix(const endpoints *e, targets *t) {
    size_t size, count = 0;
    FILE *out = open_memstream(&t->ways[t->count], &size);
    if (!out)
        return false;
    t->count++;
    fputs("unix://", out);
    for (size_t i = 0; i < e->count; i++) {
        if (e->list[i].kind != ENDPOINT_UNIX)
            continue;
        fputs(count++ > 0 ? "," : "", out);
        write_escaped(out, e->list[i].host);
    }
    t->addresses += count;
    return fclose(out) == 0;
}

static bool write_unknown(const endpoints *e, targets *t) {
    size_t size;
    FILE *out = open_memstream(&t->unknown, &size);
    if (!out)
        return false;
    for (size_t i = 0; i < e->count; i++) {
        const endpoint *one = &e->list[i];
        if (one->kind == ENDPOINT_NAME && one->address_count == 0)
            fprintf(out, "%s%s: %s", ftell(out) > 0 ? "; " : "", one->host,
                    one->problem ? gai_strerror(one->problem) : "no address");
    }
    return fclose(out) == 0;
}

bool targets_init(targets *out, const endpoints *e) {
    bool tcp = false, unix_sockets = false;
    *out = (targets){0};
    for (size_t i = 0; i < e->count; i++) {
        tcp |= e->list[i].kind != ENDPOINT_UNIX;
        unix_sockets |= e->list[i].kind == ENDPOINT_UNIX;
    }
    if ((!tcp || write_tcp(e, out)) && (!unix_sockets || write_unix(e, out)) && write_unknown(e, out))
        return true;
    targets_fini(out);
    return false;
}

bool targets_equal(const targets *a, const targets *b) {
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->ways[i], b->ways[i]) == 0;
    return equal;
}

void targets_fini(targets *t) {
    for (size_t i = 0; i < WAYS_MAX; i++)
        free(t->ways[i]);
    free(t->unknown);
    *t = (targets){0};
}
