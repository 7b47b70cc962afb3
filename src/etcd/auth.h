/* The user's auth token: one for each client. A call to etcd makes it, and makes another one when etcd does not accept
 * it any more. Any thread. */
#ifndef ETCD_AUTH_H
#define ETCD_AUTH_H

#include "core/log.h"

#include "etcd/etcd.h"

#include <grpc/grpc.h>

#include <pthread.h>

typedef struct auth {
    char *user;           /* NULL: calls are sent without a token */
    int64_t renew_ms;     /* the age at which a token is replaced */
    const char *path;     /* of password_file, "" for none; borrowed from the options */
    pthread_mutex_t lock; /* protects the fields below */
    char *password;
    grpc_slice token;    /* empty: etcd's authentication is disabled */
    uint64_t generation; /* counts tokens; 0: no token so far */
    int64_t made_ms;
    bool known;          /* `token` is valid, as far as this client knows */
    bool fetching;       /* a caller is making a new token */
    int64_t fetching_ms; /* when that caller began */
    log_source log;
    bool ever;          /* etcd has accepted a password of this client */
    int64_t refused_ms; /* since when etcd refuses the current password; 0: it does not */
} auth;

int auth_init(auth *a, const ew_options *options, ew_error *err);
void auth_fini(auth *a);
bool auth_is_on(const auth *a);

typedef enum auth_state {
    AUTH_READY, /* `*token` and its generation are set; the caller must unref the token. Empty: no token is needed */
    AUTH_FETCH, /* the caller must make a token and then call auth_made or auth_failed */
    AUTH_WAIT,  /* another caller is making a token: ask again soon. AUTH_FETCH follows if that caller takes too long */
} auth_state;

/* Gets the token. `max_age_ms`: how old it may be; AUTH_ANY_AGE: no limit but etcd's own. When it is time to renew a
 * token that is still young enough, one caller gets AUTH_FETCH and the others go on with the old token. */
#define AUTH_ANY_AGE INT64_MAX
auth_state auth_get(auth *a, int64_t max_age_ms, grpc_slice *token, uint64_t *generation);

/* Exchanges the passwords of two clients of the same user. */
void auth_exchange(auth *a, auth *b);

/* Returns the request that makes a token. The caller frees it; `data` is NULL when out of memory. */
ew_slice auth_request(auth *a);

/* Take the result of that request. */
int auth_made(auth *a, ew_slice answer); /* a response; EW_ERR_BAD_ANSWER if it holds no token */
void auth_not_wanted(auth *a);           /* etcd's authentication is disabled */
void auth_failed(auth *a);

/* To be called instead of auth_failed when etcd has refused the password with the error `text`. Reads password_file
 * again. AUTH_CHANGED: the file holds another password, which the next request carries. AUTH_LATER: the file may still
 * be renewed; a client that has authenticated before retries for AUTH_RENEWAL_MS. AUTH_WRONG: the failure is final. */
typedef enum auth_verdict { AUTH_WRONG, AUTH_CHANGED, AUTH_LATER } auth_verdict;
#define AUTH_RENEWAL_MS 60000
auth_verdict auth_refuse_password(auth *a, const char *text);

/* How many tokens of one call or watch may be refused in a row before it fails. Each refused token is replaced by a
 * newer one. More than one refusal is possible while the users' roles keep changing. */
#define AUTH_REFUSALS_MAX 3

/* Notes that etcd refused the token of this generation. Does nothing if there is a newer token already. */
void auth_refused(auth *a, uint64_t generation);

#endif
