/* A server that says what the test wants, over real gRPC: what no etcd would say, or nothing at all. On a thread of its
 * own, and as long as the test. */
#ifndef TESTS_LIB_FAKE_SERVER_H
#define TESTS_LIB_FAKE_SERVER_H

#include <etcdworker/types.h>

typedef struct fake_server fake_server;

fake_server *fake_server_start(void); /* answers nothing yet; ends the test program when it cannot start */
const char *fake_server_endpoint(const fake_server *s);
void fake_server_stop(fake_server *s); /* after the last client is closed */

/* From now on, calls of all methods are answered by this message and closed with this gRPC status. The bytes are
 * copied; NULL: there is no message. */
void fake_server_answer(fake_server *s, ew_slice message, int status, const char *text);

/* From now on, calls are taken and never answered. */
void fake_server_be_silent(fake_server *s);

/* A MemberList call is answered as by a member of this cluster (1 at first), whatever the test has set, and is not
 * counted: that is how clients ask whose an endpoint is. With fake_server_script_members on it is a call as any other. */
void fake_server_set_cluster(fake_server *s, uint64_t cluster);
void fake_server_script_members(fake_server *s, bool on);

/* Whoever asks gets a token, of a new number each time; and `refusals` calls are closed with that status before the
 * answer counts. With GRPC_STATUS_OK the refusal is a watch's (ETCD P10): created and canceled, for the reason `text`.
 */
void fake_server_give_tokens(fake_server *s);
void fake_server_refuse(fake_server *s, int refusals, int status, const char *text);

/* Of the calls that came since it was last asked: how many, how many of them with `hasleader`, the last one's path and
 * token; and apart from these how many asked for a token. */
typedef struct fake_server_calls {
    int count, with_hasleader, tokens;
    char path[64], token[32];
} fake_server_calls;

fake_server_calls fake_server_take_calls(fake_server *s);

/* Waits until a call has come. */
void fake_server_await_call(fake_server *s);

#endif
