/* A gRPC server that answers as the test orders: answers that no etcd gives, or none. It has its own thread and lives
 * as long as the test. */
#ifndef TESTS_LIB_FAKE_SERVER_H
#define TESTS_LIB_FAKE_SERVER_H

#include <etcdworker/types.h>

typedef struct fake_server fake_server;

fake_server *fake_server_start(void); /* answers nothing yet; ends the test program if it cannot start */
const char *fake_server_endpoint(const fake_server *s);
void fake_server_stop(fake_server *s); /* call it after the last client is closed */

/* From now on, answers calls of all methods with this message and closes them with this gRPC status. Copies the bytes;
 * NULL: no message. */
void fake_server_answer(fake_server *s, ew_slice message, int status, const char *text);

/* From now on, accepts calls and never answers them. */
void fake_server_be_silent(fake_server *s);

/* Answers each MemberList call as a member of this cluster (initially 1), whatever the test has ordered, and does not
 * count it: clients use it to identify a new connection. After fake_server_script_members(s, true), MemberList is a
 * call like any other. */
void fake_server_set_cluster(fake_server *s, uint64_t cluster);
void fake_server_script_members(fake_server *s, bool on);

/* fake_server_give_tokens: answers each request for a token with a new token. fake_server_refuse: closes the next
 * `refusals` calls with that status before the ordered answer applies. GRPC_STATUS_OK means a watch that is refused
 * (ETCD P10): created, then canceled for the reason `text`. */
void fake_server_give_tokens(fake_server *s);
void fake_server_refuse(fake_server *s, int refusals, int status, const char *text);

/* From now on, refuses calls without a token, MemberList as well, and calls whose token has a number below `oldest` (1:
 * accepts all tokens that a fake server made). etcd 3.5.29 with authentication behaves like this; a larger `oldest` is
 * like a member that was restarted, or another cluster. */
void fake_server_want_tokens(fake_server *s, int oldest);

/* Calls since the last fake_server_take_calls: the number of them, the number with `hasleader`, path and token of the
 * last one. `tokens` counts the requests for a token, which are not in `count`. */
typedef struct fake_server_calls {
    int count, with_hasleader, tokens;
    char path[64], token[32];
} fake_server_calls;

fake_server_calls fake_server_take_calls(fake_server *s);

/* Waits for a call. */
void fake_server_await_call(fake_server *s);

#endif
