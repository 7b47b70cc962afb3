#include "etcd/endpoint_text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int malformed(const char *text, const char *why, ew_error *err) {
    return ew_fail(err, EW_ERR_INVALID, "endpoint \"%s\": %s", text, why);
}

/* Returns NULL if the text is a port, otherwise the mistake. */
static const char *port_problem(const char *text, int *port) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0')
        return "the port is not a number";
    text += strspn(text, "0");
    if (text[0] == '\0')
        return "port 0 is invalid";
    if (strlen(text) > 5 || atoi(text) > 65535)
        return "port above 65535";
    *port = atoi(text);
    return NULL;
}

static endpoint_kind kind_of(const char *host, bool brackets) {
    unsigned char address[sizeof(struct in6_addr)];
    if (brackets)
        return ENDPOINT_IPV6;
    return inet_pton(AF_INET, host, address) == 1 ? ENDPOINT_IPV4 : ENDPOINT_NAME;
}

static int parse_unix(endpoint *e, const char *text, ew_error *err) {
    const char *path = text + strlen("unix:");
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (path[0] != '/' || strlen(path) >= sizeof e->host)
        return malformed(text, "want unix:/absolute/path", err);
    e->kind = ENDPOINT_UNIX;
    strcpy(e->host, path);
    return EW_OK;
}

/* Every request names the host in a header, which must be printable. */
static bool is_printable(const char *text) {
    bool printable = true;
    for (; *text; text++)
        printable &= isgraph((unsigned char)*text) != 0;
    return printable;
}

static int parse_host(endpoint *e, const char *text, const char *host, size_t len, ew_error *err) {
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (brackets) {
        host++;
        len -= 2;
    }
    if (len == 0)
        return malformed(text, "no host: want host:port", err);
    if (len >= sizeof e->host)
        return malformed(text, "the host is too long", err);
    memcpy(e->host, host, len);
    e->host[len] = '\0';
    e->kind = kind_of(e->host, brackets);
    if (e->kind == ENDPOINT_NAME && strpbrk(e->host, ":[]"))
        return malformed(text, "not a host name; IPv6 addresses are written [::1]:2379", err);
    if (e->kind == ENDPOINT_NAME && (strpbrk(e->host, "/?#%\\\"<>") || !is_printable(e->host)))
        return malformed(text, "not a host name", err);
    if (e->kind == ENDPOINT_IPV6 && inet_pton(AF_INET6, e->host, &(struct in6_addr){0}) != 1)
        return malformed(text, "not an IPv6 address", err);
    return EW_OK;
}

/* `rest` is the text after the scheme. */
static int parse_tcp(endpoint *e, const char *text, const char *rest, ew_error *err) {
    const char *colon = strrchr(rest, ':'), *bracket = strrchr(rest, ']');
    if (!colon || (bracket && bracket > colon))
        return malformed(text, "no port: want host:port", err);
    const char *problem = port_problem(colon + 1, &e->port);
    return problem ? malformed(text, problem, err) : parse_host(e, text, rest, (size_t)(colon - rest), err);
}

/* Allows one slash at the end: etcd's own tools print and accept "http://host:2379/". */
static int parse_url(endpoint *e, char *text, char *rest, ew_error *err) {
    size_t len = strlen(rest);
    bool slash = len > 0 && rest[len - 1] == '/';
    if (slash)
        rest[len - 1] = '\0';
    if (strchr(rest, '/'))
        return malformed(text, "a path is not allowed: want host:port", err);
    return parse_tcp(e, text, rest, err);
}

int endpoint_parse(endpoint *e, const char *given, ew_error *err) {
    if (strncmp(given, "unix:", strlen("unix:")) == 0)
        return parse_unix(e, given, err);
    const char *at = strrchr(given, '@'), *scheme_end = strstr(given, "://");
    if (at)
        return ew_fail(err, EW_ERR_INVALID, "endpoint \"...%s\": credentials belong in user and password", at);
    if (strpbrk(given, " \t"))
        return malformed(given, "blanks are not allowed; separate endpoints by commas", err);
    if (!scheme_end)
        return parse_tcp(e, given, given, err);
    size_t scheme = (size_t)(scheme_end - given);
    e->plain = scheme == 4 && strncmp(given, "http", 4) == 0;
    e->tls = scheme == 5 && strncmp(given, "https", 5) == 0;
    if (!e->plain && !e->tls)
        return malformed(given, "unknown scheme: want http://, https:// or no scheme", err);
    char *text = strdup(given);
    if (!text)
        return ew_fail(err, EW_ERR_NO_MEMORY, "endpoints");
    int status = parse_url(e, text, text + scheme + 3, err);
    free(text);
    return status;
}
