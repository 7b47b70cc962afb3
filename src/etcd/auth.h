/* The user's token: one for the whole client, made by a call to etcd and made again when etcd does not take it any
 * more. Any thread. */
#ifndef ETCD_AUTH_H
#define ETCD_AUTH_H

#include "etcd/etcd.h"

#include <grpc/grpc.h>

#include <pthread.h>

typedef struct auth {
    char *user;           /* NULL: calls go without a token */
    int64_t renew_ms;     /* the age at which a token is replaced */
    const char *path;     /* of password_file, "" for none; the options' */
    pthread_mutex_t lock; /* of what follows */
    char *password;
    grpc_slice token;    /* empty: etcd said that it wants none */
    uint64_t generation; /* counts tokens; 0: there has been none */
    int64_t made_ms;
    bool known;          /* `token` is what etcd wants, as far as we know */
    bool fetching;       /* somebody is making a new one */
    int64_t fetching_ms; /* since then */
    bool ever;           /* etcd has taken a password of this client's */
    int64_t refused_ms;  /* since when it does not take the one there is; 0: it does */
} auth;

int auth_init(auth *a, const ew_options *options, ew_error *err);
void auth_fini(auth *a);
bool auth_is_on(const auth *a);

typedef enum auth_state {
    AUTH_READY, /* there is a token (or none is wanted): `*token`, to be unreffed, and its generation */
    AUTH_FETCH, /* the caller is to make one: it must call auth_made or auth_failed */
    AUTH_WAIT,  /* somebody else is making one: ask again soon, and sooner or later it is AUTH_FETCH */
} auth_state;

/* `max_age_ms`: how old the token may be; AUTH_ANY_AGE: as old as etcd takes it. When it is to be replaced before that
 * is over, one caller is to fetch the next and the others go on with it. */
#define AUTH_ANY_AGE INT64_MAX
auth_state auth_get(auth *a, int64_t max_age_ms, grpc_slice *token, uint64_t *generation);

/* Exchanges the passwords of two clients of the same user. */
void auth_exchange(auth *a, auth *b);

/* The request that makes a token, to be freed; `data` is NULL when out of memory. */
ew_slice auth_request(auth *a);

/* Its answer. */
int auth_made(auth *a, ew_slice answer); /* EW_ERR_BAD_ANSWER if there is no token in it */
void auth_not_wanted(auth *a);           /* etcd has its authentication switched off */
void auth_failed(auth *a);

/* Instead of auth_failed, when etcd has refused the password. The file is read again: AUTH_CHANGED, and the next
 * request has another password. Otherwise it may still be renewed: a client that has been let in before goes on trying
 * for AUTH_RENEWAL_MS (AUTH_LATER). AUTH_WRONG is an answer. `text` is etcd's. */
typedef enum auth_verdict { AUTH_WRONG, AUTH_CHANGED, AUTH_LATER } auth_verdict;
#define AUTH_RENEWAL_MS 60000
auth_verdict auth_refuse_password(auth *a, const char *text);

/* Tokens of a call or a watch that may be refused, one after the other, each for a newer one: somebody may be changing
 * roles all the time. */
#define AUTH_REFUSALS_MAX 3

/* The token of that generation was refused; of an earlier one, this says nothing new. */
void auth_refused(auth *a, uint64_t generation);

#endif
