#include "etcd/targets.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns a formatted text that the caller frees; NULL when out of memory. */
static char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *print(const char *format, ...) {
    char *text;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

/* Returns `text` escaped for the path of a URI, which the caller frees; NULL when out of memory. */
static char *escape(const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/";
    char *out = malloc(3 * strlen(text) + 1), *to = out;
    for (; out && *text; text++) {
        if (strchr(plain, *text))
            *to++ = *text;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*text);
    }
    if (out)
        *to = '\0';
    return out;
}

static bool is_whole(const target *t) {
    return t->uri && t->shown && t->authority && t->address;
}

static bool write_unix(target *t, const endpoint *e) {
    char *path = escape(e->host);
    *t = (target){.uri = path ? print("unix://%s", path) : NULL,
                  .shown = print("unix:%s", e->host),
                  .authority = strdup("localhost"),
                  .address = strdup(e->host)};
    free(path);
    return is_whole(t);
}

/* In gRPC's URIs brackets must be escaped. */
static char *tcp_uri(const char *address, bool ipv6, int port) {
    char *host = escape(address);
    char *uri = host ? print(ipv6 ? "ipv6:///%%5B%s%%5D:%d" : "ipv4:///%s:%d", host, port) : NULL;
    free(host);
    return uri;
}

/* `shown` is the endpoint as the user wrote it; for a host name, followed by the address. */
static bool write_tcp(target *t, const endpoint *e, const char *address, bool ipv6) {
    const char *format = e->kind == ENDPOINT_IPV6 ? "[%s]:%d" : "%s:%d";
    bool named = e->kind == ENDPOINT_NAME;
    *t = (target){.uri = tcp_uri(address, ipv6, e->port),
                  .shown = named ? print("%s:%d (%s)", e->host, e->port, address) : print(format, e->host, e->port),
                  .authority = print(format, e->host, e->port),
                  .address = strdup(address),
                  .port = e->port};
    return is_whole(t);
}

/* The same address twice is one target, unless the certificate must be valid for another host. */
static void keep_if_new(targets *out) {
    target *last = &out->list[out->count];
    for (size_t i = 0; i < out->count; i++) {
        if (strcmp(out->list[i].uri, last->uri) == 0 && strcmp(out->list[i].authority, last->authority) == 0)
            return;
    }
    out->count++;
}

static void free_target(target *t) {
    free(t->uri);
    free(t->shown);
    free(t->authority);
    free(t->address);
    *t = (target){0};
}

static bool add(targets *out, const endpoint *e, const char *address, bool ipv6) {
    target *t = &out->list[out->count];
    bool good = e->kind == ENDPOINT_UNIX ? write_unix(t, e) : write_tcp(t, e, address, ipv6);
    size_t before = out->count;
    if (good)
        keep_if_new(out);
    if (out->count == before)
        free_target(t);
    return good;
}

static bool add_endpoint(targets *out, const endpoint *e) {
    bool good = true;
    if (e->kind != ENDPOINT_NAME)
        return add(out, e, e->host, e->kind == ENDPOINT_IPV6);
    for (size_t i = 0; i < e->address_count && good; i++)
        good = add(out, e, e->addresses[i].text, e->addresses[i].ipv6);
    return good;
}

static size_t count_addresses(const endpoints *e) {
    size_t count = 0;
    for (size_t i = 0; i < e->count; i++)
        count += e->list[i].kind == ENDPOINT_NAME ? e->list[i].address_count : 1;
    return count;
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
    *out = (targets){.list = calloc(count_addresses(e) + 1, sizeof *out->list)};
    bool good = out->list != NULL;
    for (size_t i = 0; i < e->count && good; i++)
        good = add_endpoint(out, &e->list[i]);
    if (good && write_unknown(e, out))
        return true;
    targets_fini(out);
    return false;
}

bool targets_equal(const targets *a, const targets *b) {
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->list[i].uri, b->list[i].uri) == 0;
    return equal;
}

void targets_fini(targets *t) {
    for (size_t i = 0; i < t->count; i++)
        free_target(&t->list[i]);
    free(t->list);
    free(t->unknown);
    *t = (targets){0};
}
