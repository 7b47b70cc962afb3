#include "etcd/auth.h"
#include "etcd/blocking.h"
#include "etcd/file.h"

#include "core/options_internal.h"
#include "core/unpack.h"

#include <stdlib.h>

static int read_password(char **password, const char *path, ew_error *err) {
    int status = file_read(password, "password_file", path, err);
    if (status != EW_OK)
        return status;
    char *text = *password;
    size_t len = strcspn(text, "\r\n");
    if (text[len + strspn(text + len, "\r\n")] != '\0')
        return ew_fail(err, EW_ERR_INVALID, "password_file %s: more than one line", path);
    text[len] = '\0';
    return EW_OK;
}

static int take_user(auth *a, const char *user, const char *password, const char *path, ew_error *err) {
    int status = path[0] ? read_password(&a->password, path, err) : EW_OK;
    if (status != EW_OK)
        return status;
    if (!path[0])
        a->password = strdup(password);
    a->user = strdup(user);
    return a->user && a->password ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "user");
}

int auth_init(auth *a, const ew_options *o, ew_error *err) {
    const char *user = ew_options_text(o, "user"), *password = ew_options_text(o, "password");
    const char *path = ew_options_text(o, "password_file");
    *a = (auth){.token = grpc_empty_slice(), .path = path, .log = {.sink = o->log}};
    pthread_mutex_init(&a->lock, NULL);
    a->renew_ms = ew_options_int(o, "auth_token_ttl_s") * 1000 / 3 * 2;
    if (path[0] && password[0])
        return ew_fail(err, EW_ERR_INVALID, "password_file and password are both set");
    if ((user[0] == '\0') != (path[0] == '\0' && password[0] == '\0'))
        return ew_fail(err, EW_ERR_INVALID, "user and password_file (or password) must be set together");
    return user[0] ? take_user(a, user, password, path, err) : EW_OK;
}

void auth_fini(auth *a) {
    grpc_slice_unref(a->token);
    file_free(a->password);
    free(a->user);
    pthread_mutex_destroy(&a->lock);
}

bool auth_is_on(const auth *a) {
    return a->user != NULL;
}

/* The caller that fetches a token may have stopped: a pulled watch moves only while its user waits for it. So after
 * this time another caller is told to fetch a token. An additional token does no harm. */
#define FETCH_PATIENCE_MS 1000

auth_state auth_get(auth *a, int64_t max_age_ms, grpc_slice *token, uint64_t *generation) {
    auth_state state = AUTH_READY;
    pthread_mutex_lock(&a->lock);
    int64_t now_ms = etcd_now_ms(), age_ms = now_ms - a->made_ms;
    bool fetching = a->fetching && now_ms - a->fetching_ms <= FETCH_PATIENCE_MS;
    if (a->known && age_ms <= max_age_ms && (age_ms <= a->renew_ms || fetching)) {
        *token = grpc_slice_ref(a->token);
        *generation = a->generation;
    } else if (fetching) {
        state = AUTH_WAIT;
    } else {
        a->fetching = true;
        a->fetching_ms = now_ms;
        state = AUTH_FETCH;
    }
    pthread_mutex_unlock(&a->lock);
    return state;
}

ew_slice auth_request(auth *a) {
    Pb__AuthenticateRequest request = PB__AUTHENTICATE_REQUEST__INIT;
    pthread_mutex_lock(&a->lock);
    request.name = a->user;
    request.password = a->password;
    ew_slice bytes = blocking_pack(&request);
    pthread_mutex_unlock(&a->lock);
    return bytes;
}

void auth_exchange(auth *a, auth *b) {
    pthread_mutex_lock(&a->lock);
    char *password = a->password; /* without the lock of `b`, which no other thread uses */
    a->password = b->password;
    b->password = password;
    pthread_mutex_unlock(&a->lock);
}

static void set(auth *a, grpc_slice token, bool known) {
    pthread_mutex_lock(&a->lock);
    grpc_slice_unref(a->token);
    a->token = token;
    a->generation++;
    a->made_ms = etcd_now_ms();
    a->known = known;
    a->fetching = false;
    pthread_mutex_unlock(&a->lock);
}

static void note_success(auth *a) {
    pthread_mutex_lock(&a->lock);
    a->ever = true;
    a->refused_ms = 0;
    pthread_mutex_unlock(&a->lock);
}

int auth_made(auth *a, ew_slice answer) {
    int status;
    Pb__AuthenticateResponse *r = unpack_message(&pb__authenticate_response__descriptor, answer, &status);
    if (status != EW_ERR_NO_MEMORY)
        status = EW_ERR_BAD_ANSWER;
    if (r && r->token && r->token[0]) {
        grpc_slice token = grpc_slice_from_copied_string(r->token);
        /* gRPC aborts the process on illegal metadata. */
        if (grpc_header_nonbin_value_is_legal(token)) {
            set(a, token, true);
            note_success(a);
            status = EW_OK;
        } else {
            grpc_slice_unref(token);
        }
    }
    if (r)
        pb__authenticate_response__free_unpacked(r, NULL);
    if (status != EW_OK)
        auth_failed(a);
    return status;
}

void auth_not_wanted(auth *a) {
    set(a, grpc_empty_slice(), true);
}

void auth_failed(auth *a) {
    set(a, grpc_empty_slice(), false);
}

/* Reads password_file again; true if it holds another password, which is then used. */
static bool reread(auth *a) {
    char *password = NULL;
    if (!a->path[0] || read_password(&password, a->path, NULL) != EW_OK) {
        file_free(password); /* the file may be about to be replaced */
        return false;
    }
    pthread_mutex_lock(&a->lock);
    bool changed = password[0] && strcmp(a->password, password) != 0; /* an empty file is still being written */
    if (changed) {
        char *before = a->password;
        a->password = password;
        password = before;
    }
    pthread_mutex_unlock(&a->lock);
    file_free(password);
    return changed;
}

/* Returns whether to retry. `*first`: this is the first refusal, which starts AUTH_RENEWAL_MS. */
static bool may_be_renewed(auth *a, bool *first) {
    int64_t now_ms = etcd_now_ms();
    pthread_mutex_lock(&a->lock);
    *first = a->ever && a->refused_ms == 0;
    if (*first)
        a->refused_ms = now_ms;
    bool may = a->ever && a->path[0] && now_ms - a->refused_ms < AUTH_RENEWAL_MS;
    pthread_mutex_unlock(&a->lock);
    return may;
}

auth_verdict auth_refuse_password(auth *a, const char *text) {
    bool first;
    auth_failed(a);
    if (!strstr(text, "etcdserver: authentication failed"))
        return AUTH_WRONG;
    if (reread(a)) {
        log_fields(EW_LOG_INFO, &a->log, "etcd", "etcd refused the password; using the new password in password_file",
                   {"password_file", a->path});
        return AUTH_CHANGED;
    }
    if (!may_be_renewed(a, &first))
        return AUTH_WRONG;
    if (first)
        log_fields(EW_LOG_WARN, &a->log, "etcd",
                   "etcd refuses the password; waiting for a new password in password_file", {"password_file", a->path},
                   {"ms", NULL, AUTH_RENEWAL_MS});
    return AUTH_LATER;
}

void auth_refused(auth *a, uint64_t generation) {
    pthread_mutex_lock(&a->lock);
    if (a->generation == generation)
        a->known = false;
    pthread_mutex_unlock(&a->lock);
}
