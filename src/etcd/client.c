/* Opens, closes and cancels clients. */
#include "etcd/connection.h"
#include "etcd/forked.h"

#include "core/argument.h"
#include "core/log.h"
#include "core/options_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_GPR_SET_LOG_FUNCTION
#include <grpc/support/log.h>

/* Logs gRPC's errors as records of this library instead of on stderr. If GRPC_VERBOSITY is set, gRPC keeps its own log.
 */
static void on_grpc_log(gpr_log_func_args *args) {
    if (args->severity != GPR_LOG_SEVERITY_ERROR)
        return;
    log_fields(EW_LOG_DEBUG, NULL, "grpc", "gRPC reports an error", {"text", args->message}, {"file", args->file},
               {"line", NULL, args->line});
}

static void redirect_log(void) {
    if (!getenv("GRPC_VERBOSITY"))
        gpr_set_log_function(on_grpc_log);
}
#else
/* gRPC 1.67 and later log through abseil, which C cannot redirect: they write to stderr what GRPC_VERBOSITY selects. */
static void redirect_log(void) {}
#endif

ew_status ew_client_open(ew_client **out, const ew_options *options, ew_error *err) {
    if (ARGUMENT_MISSING(out, err))
        return EW_ERR_INVALID;
    *out = NULL;
    if (ARGUMENT_MISSING(options, err))
        return EW_ERR_INVALID;
    if (!options)
        return ew_fail(err, EW_ERR_INVALID, "options: NULL");
    if (ew_options_int(options, "backoff_min_ms") > ew_options_int(options, "backoff_max_ms"))
        return ew_fail(err, EW_ERR_INVALID, "backoff_min_ms is above backoff_max_ms");
    int status = forked_open(err);
    if (status != EW_OK)
        return status;
    ew_client *c = calloc(1, sizeof *c);
    if (!c) {
        forked_closed();
        return ew_fail(err, EW_ERR_NO_MEMORY, "client");
    }
    c->owner = getpid();
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, redirect_log);
    grpc_init();
    waiters_init(&c->waiters);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->reloading, NULL);
    c->options = options_copy(options);
    c->log = (log_source){.sink = options->log};
    c->endpoints = strdup(ew_options_text(options, "endpoints"));
    c->call_timeout_ms = ew_options_int(options, "call_timeout_ms");
    c->backoff_min_ms = ew_options_int(options, "backoff_min_ms");
    c->backoff_max_ms = ew_options_int(options, "backoff_max_ms");
    c->watch_silence_ms = ew_options_int(options, "watch_silence_ms");
    c->max_receive_bytes = ew_options_int(options, "max_receive_bytes");
    status = auth_init(&c->auth, c->options ? c->options : options, err);
    if (status == EW_OK && (!c->endpoints || !c->options))
        status = ew_fail(err, EW_ERR_NO_MEMORY, "client");
    if (status == EW_OK)
        status = channel_config_init(&c->config, options, c->endpoints, err);
    if (status == EW_OK && !(c->set = connection_open(&c->config, options)))
        status = ew_fail(err, EW_ERR_NO_MEMORY, "client");
    if (status != EW_OK) {
        ew_client_close(c);
        return status;
    }
    *out = c;
    return EW_OK;
}

void ew_client_close(ew_client *client) {
    if (!client || etcd_check_process(client, NULL) != EW_OK)
        return;
    waiters_fini(&client->waiters);
    etcd_must(!client->streams);
    connection_give(client->set);
    channel_config_fini(&client->config);
    auth_fini(&client->auth);
    pthread_mutex_destroy(&client->reloading);
    pthread_mutex_destroy(&client->lock);
    ew_options_free(client->options);
    free(client->endpoints);
    free(client);
    grpc_shutdown();
    forked_closed();
}

void ew_client_cancel(ew_client *client) {
    if (!client || etcd_check_process(client, NULL) != EW_OK)
        return;
    waiters_cancel(&client->waiters);
    pthread_mutex_lock(&client->lock);
    if (client->trial)
        waiters_cancel(&client->trial->waiters);
    pthread_mutex_unlock(&client->lock);
}

size_t connection_metadata(etcd_method method, grpc_slice token, grpc_metadata *list) {
    size_t n = 0;
    if (method_get(method)->needs_leader) {
        list[n++] = (grpc_metadata){.key = grpc_slice_from_static_string("hasleader"),
                                    .value = grpc_slice_from_static_string("true")};
    }
    if (!GRPC_SLICE_IS_EMPTY(token))
        list[n++] = (grpc_metadata){.key = grpc_slice_from_static_string("token"), .value = token};
    return n;
}
