#include "etcd/endpoints.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

typedef enum kind { KIND_IPV4, KIND_IPV6, KIND_NAME, KIND_UNIX } kind;

typedef struct endpoint {
    kind kind;
    char host[256]; /* without brackets; a path for KIND_UNIX */
    int port;
    bool tls, plain; /* https:// or http:// was said */
} endpoint;

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

static kind kind_of(const char *host, bool brackets) {
    unsigned char address[sizeof(struct in6_addr)];
    if (brackets)
        return KIND_IPV6;
    return inet_pton(AF_INET, host, address) == 1 ? KIND_IPV4 : KIND_NAME;
}

static int parse_unix(endpoint *e, const char *text, ew_error *err) {
    const char *path = text + strlen("unix:");
    if (starts_with(path, "//"))
        path += 2;
    if (path[0] != '/' || strlen(path) >= sizeof e->host)
        return malformed(text, "want unix:/absolute/path", err);
    e->kind = KIND_UNIX;
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
    if (e->kind == KIND_NAME && strpbrk(e->host, ":/@[] \t?#%"))
        return malformed(text, "this is no host name; IPv6 addresses are written [::1]:2379", err);
    if (e->kind == KIND_IPV6 && inet_pton(AF_INET6, e->host, &(struct in6_addr){0}) != 1)
        return malformed(text, "this is no IPv6 address", err);
    return EW_OK;
}

/* Turns a name into the first address it has, IPv4 before IPv6. */
static int look_up(endpoint *e, ew_error *err) {
    static const int families[] = {AF_INET, AF_INET6};
    int problem = 0;
    for (size_t i = 0; i < 2; i++) {
        struct addrinfo hints = {.ai_family = families[i], .ai_socktype = SOCK_STREAM}, *found;
        problem = getaddrinfo(e->host, NULL, &hints, &found);
        if (problem != 0)
            continue;
        int failed = getnameinfo(found->ai_addr, found->ai_addrlen, e->host, sizeof e->host, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
        if (failed == 0) {
            e->kind = i == 0 ? KIND_IPV4 : KIND_IPV6;
            return EW_OK;
        }
    }
    return ew_fail(err, EW_ERR_UNAVAILABLE, "endpoint \"%s\": %s", e->host, gai_strerror(problem));
}

static void write_address(FILE *out, const endpoint *e) {
    /* gRPC's URIs do not take bare brackets. */
    fprintf(out, e->kind == KIND_IPV6 ? "%%5B%s%%5D:%d" : "%s:%d", e->host, e->port);
}

static bool write_target(endpoints *out, const endpoint *list, size_t count) {
    static const char *const schemes[] = {"ipv4:///", "ipv6:///", "dns:///", "unix://"};
    size_t size;
    FILE *f = open_memstream(&out->target, &size);
    if (!f)
        return false;
    fputs(schemes[list[0].kind], f);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            fputc(',', f);
        if (list[i].kind == KIND_UNIX)
            fputs(list[i].host, f);
        else
            write_address(f, &list[i]);
    }
    if (fclose(f) != 0)
        return false;
    f = open_memstream(&out->authority, &size);
    if (!f)
        return false;
    if (list[0].kind == KIND_UNIX)
        fputs("localhost", f);
    else
        fprintf(f, list[0].kind == KIND_IPV6 ? "[%s]:%d" : "%s:%d", list[0].host, list[0].port);
    return fclose(f) == 0;
}

#define ENDPOINTS_MAX 64

/* Makes the list one that gRPC takes: all of one kind. */
static int unify(endpoint *list, size_t count, ew_error *err) {
    if (count == 1) /* c-ares, which gRPC looks names up with, leaks memory over this one */
        return strcasecmp(list[0].host, "localhost") == 0 ? look_up(&list[0], err) : EW_OK;
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind == KIND_UNIX)
            return ew_fail(err, EW_ERR_INVALID, "endpoint \"unix:%s\" must be the only one", list[i].host);
        int status = list[i].kind == KIND_NAME ? look_up(&list[i], err) : EW_OK;
        if (status != EW_OK)
            return status;
        if (list[i].kind != list[0].kind)
            return ew_fail(err, EW_ERR_INVALID, "endpoints: IPv4 and IPv6 addresses cannot be mixed (%s, %s)",
                           list[0].host, list[i].host);
    }
    return EW_OK;
}

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

int endpoints_init(endpoints *e, const char *text, ew_error *err) {
    *e = (endpoints){0};
    char *copy = strdup(text);
    endpoint *list = calloc(ENDPOINTS_MAX, sizeof *list);
    size_t count = 0;
    int status = EW_ERR_NO_MEMORY;
    if (copy && list)
        status = parse_all(list, &count, copy, err);
    if (status == EW_OK)
        status = unify(list, count, err);
    for (size_t i = 0; i < count; i++) {
        e->tls |= list[i].tls;
        e->plain |= list[i].plain;
    }
    if (status == EW_OK && e->tls && e->plain)
        status = ew_fail(err, EW_ERR_INVALID, "endpoints: http and https cannot be mixed");
    if (status == EW_OK && !write_target(e, list, count))
        status = EW_ERR_NO_MEMORY;
    if (status == EW_ERR_NO_MEMORY)
        ew_fail(err, status, "endpoints");
    if (status != EW_OK)
        endpoints_fini(e);
    free(list);
    free(copy);
    return status;
}

void endpoints_fini(endpoints *e) {
    free(e->target);
    free(e->authority);
    *e = (endpoints){0};
}
