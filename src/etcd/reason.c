#include "etcd/reason.h"

#include <stdio.h>
#include <string.h>

/* Room for " and 64 more". */
#define TAIL 16

static void add(reason_list *l, const char *text) {
    int n = snprintf(l->out + l->used, l->size - l->used, "%s", text);
    size_t space = l->size - l->used - 1;
    l->used += (size_t)n < space ? (size_t)n : space;
}

void reason_begin(reason_list *l, const char *what) {
    l->used = l->count = l->left_out = 0;
    add(l, what);
}

static void write_left_out(reason_list *l) {
    snprintf(l->out + l->used, l->size - l->used, "; and %zu more", l->left_out);
}

void reason_add(reason_list *l, const char *who, const char *why) {
    const char *join = l->count == 0 ? ": " : "; ";
    size_t length = strlen(join) + (who ? strlen(who) + 2 : 0) + strlen(why);
    /* The first reason is cut instead of left out. */
    if (l->left_out > 0 || (l->count > 0 && l->used + length + TAIL > l->size)) {
        l->left_out++;
        write_left_out(l);
        return;
    }
    add(l, join);
    if (who) {
        add(l, who);
        add(l, ": ");
    }
    add(l, why);
    l->count++;
}

/* Skips what gRPC puts before the system's text: "failed to connect to all addresses; last error: UNKNOWN:
 * ipv4:10.0.0.1:2379: Connection refused". */
static const char *skip_frame(const char *text) {
    const char *last = strstr(text, "last error: ");
    if (!last)
        return text;
    text = last + strlen("last error: ");
    const char *code = strstr(text, ": ");
    if (code && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == (size_t)(code - text))
        text = code + 2;
    if (strncmp(text, "ipv4:", 5) == 0 || strncmp(text, "ipv6:", 5) == 0 || strncmp(text, "unix:", 5) == 0) {
        const char *end = strstr(text, ": ");
        text = end ? end + 2 : text;
    }
    return text;
}

static bool has(const char *text, const char *words) {
    return strstr(text, words) != NULL;
}

const char *reason_shorten(const char *text) {
    static const char connect[] = "Failed to connect to remote host: ", ssl[] = "SSL_ERROR_SSL: ";
    text = skip_frame(text);
    if (strncmp(text, connect, strlen(connect)) == 0)
        return text + strlen(connect);
    if (has(text, "Ssl handshake failed") && has(text, ssl))
        return strstr(text, ssl) + strlen(ssl);
    if (has(text, "Deadline Exceeded"))
        return "no answer";
    return text[0] ? text : "not connected";
}

bool reason_is_final(const char *text) {
    return has(text, "peer certificate") || has(text, "Ssl handshake failed") || has(text, "TLS: ");
}

bool reason_is_unclear(const char *text) {
    static const char *const words[] = {"Socket closed",
                                        "Endpoint read failed",
                                        "Ssl handshake failed",
                                        "peer certificate",
                                        "Connection reset",
                                        "Broken pipe",
                                        /* a refused connection, if gRPC polls with poll(): */ "FD shutdown"};
    bool unclear = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        unclear |= has(text, words[i]);
    return unclear;
}
