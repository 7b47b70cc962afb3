#include "etcd/endpoints.h"
#include "etcd/endpoint_text.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINTS_MAX 64
#define ADDRESSES_MAX 32 /* of one host name */

/* ---- names ---- */

static int compare_addresses(const void *a, const void *b) {
    return strcmp(((const endpoint_address *)a)->text, ((const endpoint_address *)b)->text);
}

/* Sorts the addresses, so that another order of the same addresses is not a change. Removes duplicates; returns how
 * many are left. */
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

/* ---- the whole list ---- */

/* Removes blanks around the word. */
static char *trim(char *word) {
    word += strspn(word, " \t");
    for (size_t len = strlen(word); len > 0 && strchr(" \t", word[len - 1]); len--)
        word[len - 1] = '\0';
    return word;
}

/* One comma at the end of the list is allowed. Any other empty entry is an error: an endpoint may be missing there. */
static int parse_all(endpoint *list, size_t *count, char *text, ew_error *err) {
    char *rest = text, *word;
    *count = 0;
    while ((word = strsep(&rest, ","))) {
        word = trim(word);
        if (word[0] == '\0' && !rest && *count > 0)
            continue;
        if (word[0] == '\0' && !rest)
            return ew_fail(err, EW_ERR_INVALID, "endpoints: empty");
        if (word[0] == '\0')
            return ew_fail(err, EW_ERR_INVALID, "endpoints: entry %zu is empty: one comma too many", *count + 1);
        if (*count == ENDPOINTS_MAX)
            return ew_fail(err, EW_ERR_INVALID, "endpoints: more than %d", ENDPOINTS_MAX);
        int status = endpoint_parse(&list[(*count)++], word, err);
        if (status != EW_OK)
            return status;
    }
    return EW_OK;
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
    *e = (endpoints){0};
}
