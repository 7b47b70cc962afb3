#include "etcd/endpoints.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ENDPOINTS_MAX 64
#define ADDRESSES_MAX 32 /* of one name */

static bool starts_with(const char *text, const char *head) {
    return strncmp(text, head, strlen(head)) == 0;
}

static int malformed(const char *text, const char *why, ew_error *err) {
    return ew_fail(err, EW_ERR_INVALID, "endpoint \"%s\": %s", text, why);
}

static bool parse_port(const char *text, int *port) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    *port = (int)n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && n >= 1 && n <= 65535;
}

static endpoint_kind kind_of(const char *host, bool brackets) {
    unsigned char address[sizeof(struct in6_addr)];
    if (brackets)
        return ENDPOINT_IPV6;
    return inet_pton(AF_INET, host, address) == 1 ? ENDPOINT_IPV4 : ENDPOINT_NAME;
}

static int parse_unix(endpoint *e, const char *text, ew_error *err) {
    const char *path = text + strlen("unix:");
    if (starts_with(path, "//"))
        path += 2;
    if (path[0] != '/' || strlen(path) >= sizeof e->host)
        return malformed(text, "want unix:/absolute/path", err);
    e->kind = ENDPOINT_UNIX;
    strcpy(e->host, path);
    return EW_OK;
}

static int parse_one(endpoint *e, const char *text, ew_error *err) {
    if (starts_with(text, "unix:"))
        return parse_unix(e, text, err);
    const char *rest = text;
    e->plain = starts_with(rest, "http://");
    e->tls = starts_with(rest, "https://");
    if (e->plain || e->tls)
        rest += strlen(e->tls ? "https://" : "http://");
    const char *colon = strrchr(rest, ':');
    if (!colon || colon == rest || !parse_port(colon + 1, &e->port))
        return malformed(text, "want host:port", err);
    size_t len = (size_t)(colon - rest);
    bool brackets = rest[0] == '[' && rest[len - 1] == ']';
    if (brackets) {
        rest++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof e->host)
        return malformed(text, "want host:port", err);
    memcpy(e->host, rest, len);
    e->host[len] = '\0';
    e->kind = kind_of(e->host, brackets);
    if (e->kind == ENDPOINT_NAME && strpbrk(e->host, ":/@[] \t?#%"))
        return malformed(text, "this is no host name; IPv6 addresses are written [::1]:2379", err);
    if (e->kind == ENDPOINT_IPV6 && inet_pton(AF_INET6, e->host, &(struct in6_addr){0}) != 1)
        return malformed(text, "this is no IPv6 address", err);
    return EW_OK;
}

/* ---- names ---- */

static int compare_addresses(const void *a, const void *b) {
    return strcmp(((const endpoint_address *)a)->text, ((const endpoint_address *)b)->text);
}

/* In order, so that the same addresses in another order are no change. */
static size_t sort_addresses(endpoint_address *list, size_t count) {
    size_t kept = 0;
    qsort(list, count, sizeof *list, compare_addresses);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || strcmp(list[kept - 1].text, list[i].text) != 0)
            list[kept++] = list[i];
    }
    return kept;
}

static void look_up(endpoint *e) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    e->problem = getaddrinfo(e->host, NULL, &hints, &found);
    if (e->problem != 0)
        return;
    endpoint_address *list = calloc(ADDRESSES_MAX, sizeof *list);
    size_t count = 0;
    for (struct addrinfo *f = found; list && f && count < ADDRESSES_MAX; f = f->ai_next) {
        if (f->ai_family != AF_INET && f->ai_family != AF_INET6)
            continue;
        list[count].ipv6 = f->ai_family == AF_INET6;
        if (getnameinfo(f->ai_addr, f->ai_addrlen, list[count].text, sizeof list[count].text, NULL, 0,
                        NI_NUMERICHOST) == 0)
            count++;
    }
    freeaddrinfo(found);
    if (count == 0) {
        free(list);
        return;
    }
    free(e->addresses);
    e->addresses = list;
    e->address_count = sort_addresses(list, count);
}

void endpoints_look_up(endpoints *e) {
    for (size_t i = 0; i < e->count; i++) {
        if (e->list[i].kind == ENDPOINT_NAME)
            look_up(&e->list[i]);
    }
}

void endpoints_inherit(endpoints *e, endpoints *from) {
    for (size_t i = 0; i < e->count && i < from->count; i++) {
        endpoint *to = &e->list[i], *old = &from->list[i];
        if (to->address_count > 0)
            continue;
        to->addresses = old->addresses;
        to->address_count = old->address_count;
        old->addresses = NULL;
        old->address_count = 0;
    }
}

/* ---- the whole ---- */

static int parse_all(endpoint *list, size_t *count, char *text, ew_error *err) {
    char *rest = text, *word;
    *count = 0;
    while ((word = strsep(&rest, ",")) != NULL) {
        word += strspn(word, " \t");
        word[strcspn(word, " \t")] = '\0';
        if (word[0] == '\0')
            continue;
        if (*count == ENDPOINTS_MAX)
            return ew_fail(err, EW_ERR_INVALID, "endpoints: more than %d", ENDPOINTS_MAX);
        int status = parse_one(&list[(*count)++], word, err);
        if (status != EW_OK)
            return status;
    }
    return *count > 0 ? EW_OK : ew_fail(err, EW_ERR_INVALID, "endpoints: none is given");
}

static bool write_authority(endpoints *e) {
    size_t size;
    const endpoint *first = &e->list[0];
    FILE *out = open_memstream(&e->authority, &size);
    if (!out)
        return false;
    if (first->kind == ENDPOINT_UNIX)
        fputs("localhost", out);
    else
        fprintf(out, first->kind == ENDPOINT_IPV6 ? "[%s]:%d" : "%s:%d", first->host, first->port);
    return fclose(out) == 0;
}

int endpoints_init(endpoints *e, const char *text, ew_error *err) {
    *e = (endpoints){0};
    char *copy = strdup(text);
    int status = EW_ERR_NO_MEMORY;
    e->list = calloc(ENDPOINTS_MAX, sizeof *e->list);
    if (copy && e->list)
        status = parse_all(e->list, &e->count, copy, err);
    for (size_t i = 0; i < e->count; i++) {
        e->tls |= e->list[i].tls;
        e->plain |= e->list[i].plain;
        e->named |= e->list[i].kind == ENDPOINT_NAME;
    }
    if (status == EW_OK && e->tls && e->plain)
        status = ew_fail(err, EW_ERR_INVALID, "endpoints: http and https cannot be mixed");
    if (status == EW_OK && !write_authority(e))
        status = EW_ERR_NO_MEMORY;
    if (status == EW_ERR_NO_MEMORY)
        ew_fail(err, status, "endpoints");
    if (status != EW_OK)
        endpoints_fini(e);
    free(copy);
    return status;
}

void endpoints_fini(endpoints *e) {
    for (size_t i = 0; i < e->count; i++)
        free(e->list[i].addresses);
    free(e->list);
    free(e->authority);
    *e = (endpoints){0};
}
