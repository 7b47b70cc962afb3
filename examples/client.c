/* The client by itself: put, list, a transaction, a watch.
 *
 *     client [ENDPOINTS]
 *
 * Takes a lock-like key with a transaction, then follows everything below /example/ until /example/stop is put. */
#include <etcdworker/client.h>

#include <stdio.h>
#include <stdlib.h>

static ew_error err;

static void must(int status) {
    if (status == EW_OK)
        return;
    fprintf(stderr, "%s: %s\n", ew_strerror(status), err.detail);
    exit(1);
}

static void print(const char *what, const ew_kv *kv) {
    printf("%-6s %.*s = \"%.*s\" at revision %lld\n", what, (int)kv->key.len, (const char *)kv->key.data,
           (int)kv->value.len, (const char *)kv->value.data, (long long)kv->mod_revision);
}

static void list(ew_client *client) {
    ew_result *result;
    must(ew_client_get(client, ew_keys_prefix(EW_STR("/example/")), NULL, &result, &err));
    for (size_t i = 0; i < ew_result_count(result); i++)
        print("found", ew_result_at(result, i));
    ew_result_free(result);
}

/* Makes the key if nobody has it; otherwise shows who does. Both in one transaction. */
static void claim(ew_client *client, ew_slice key, ew_slice owner) {
    ew_result *result;
    ew_txn *t = ew_txn_new();
    ew_txn_if(t, ew_keys_one(key), EW_CREATE_REVISION, EW_EQUAL, 0);
    ew_txn_put(t, EW_THEN, key, owner, NULL);
    ew_txn_get(t, EW_ELSE, ew_keys_one(key), NULL);
    must(ew_client_txn(client, t, &result, &err));
    if (ew_result_succeeded(result))
        printf("claimed at revision %lld\n", (long long)ew_result_revision(result));
    else
        print("taken", ew_result_at(ew_result_op(result, 0), 0));
    ew_result_free(result);
    ew_txn_free(t);
}

static void follow(ew_watch *watch) {
    for (ew_watch_batch batch;;) {
        must(ew_watch_next(watch, -1, &batch, &err));
        for (size_t i = 0; i < batch.count; i++) {
            const ew_watch_event *event = &batch.events[i];
            print(event->kind == EW_EVENT_PUT ? "put" : "delete", &event->kv);
            if (ew_slice_equal(event->kv.key, EW_STR("/example/stop")))
                return;
        }
    }
}

int main(int argc, char **argv) {
    ew_options *options = ew_options_new();
    ew_client *client;
    ew_watch *watch;
    if (argc > 1)
        must(ew_options_set(options, "endpoints", argv[1], &err));
    must(ew_client_open(&client, options, &err));
    ew_options_free(options);

    must(ew_watch_open(&watch, client, ew_keys_prefix(EW_STR("/example/")), NULL, &err));
    must(ew_client_put(client, EW_STR("/example/greeting"), EW_STR("hello"), NULL, NULL, &err));
    claim(client, EW_STR("/example/owner"), EW_STR("me"));
    list(client);
    printf("watching; end it with: etcdctl put /example/stop now\n");
    fflush(stdout);
    follow(watch);

    ew_watch_close(watch);
    ew_client_close(client);
    return 0;
}
