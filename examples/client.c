/* The client without a worker: put, range, a transaction, a watch.      client [ENDPOINTS] */
#include <etcdworker/client.h>
#include <stdio.h>
#include <stdlib.h>

static ew_error err;

static void must(ew_status status) {
    if (status == EW_OK)
        return;
    fprintf(stderr, "%s: %s\n", ew_strerror(status), err.detail);
    exit(1);
}

static void print(const char *what, const ew_kv *kv) {
    printf("%-6s %.*s = \"%.*s\" at revision %lld\n", what, (int)kv->key.len, (const char *)kv->key.data,
           (int)kv->value.len, (const char *)kv->value.data, (long long)kv->mod_revision);
}

int main(int argc, char **argv) {
    const ew_slice owner = EW_STR("/example/owner"), stop = EW_STR("/example/stop");
    const ew_keys all = ew_keys_prefix(EW_STR("/example/"));
    ew_options *options = ew_options_new();
    ew_client *client;
    ew_watch *watch;
    ew_result *result;
    if (argc > 1)
        must(ew_options_set(options, "endpoints", argv[1], &err));
    must(ew_client_open(&client, options, &err));
    ew_options_free(options);
    must(ew_watch_open(&watch, client, all, NULL, &err)); /* sees every later write */
    must(ew_client_put(client, EW_STR("/example/greeting"), EW_STR("hello"), NULL, NULL, &err));
    ew_txn *t = ew_txn_new(); /* creates the key if it is absent, otherwise reads its owner */
    ew_txn_if(t, ew_keys_one(owner), EW_CREATE_REVISION, EW_EQUAL, 0);
    ew_txn_put(t, EW_THEN, owner, EW_STR("me"), NULL);
    ew_txn_get(t, EW_ELSE, ew_keys_one(owner), NULL);
    must(ew_client_txn(client, t, &result, &err));
    if (ew_result_succeeded(result))
        printf("claimed at revision %lld\n", (long long)ew_result_revision(result));
    else
        print("taken", ew_result_at(ew_result_op(result, 0), 0));
    ew_result_free(result);
    ew_txn_free(t);
    must(ew_client_get(client, all, NULL, &result, &err));
    for (size_t i = 0; i < ew_result_count(result); i++)
        print("found", ew_result_at(result, i));
    ew_result_free(result);
    printf("watching; to end: etcdctl put /example/stop now\n");
    fflush(stdout);
    for (bool stopped = false; !stopped;) {
        ew_watch_batch batch;
        must(ew_watch_next(watch, -1, &batch, &err));
        for (size_t i = 0; i < batch.count; i++) {
            print(batch.events[i].kind == EW_EVENT_PUT ? "put" : "delete", &batch.events[i].kv);
            stopped |= ew_slice_equal(batch.events[i].kv.key, stop);
        }
    }
    ew_watch_close(watch);
    ew_client_close(client);
}
