/* A server that says what the test wants, over real gRPC: what no etcd would say, or nothing at all. On a thread of its
 * own, and as long as the test. */
#ifndef TESTS_LIB_SCRIPTED_H
#define TESTS_LIB_SCRIPTED_H

#include <etcdworker/types.h>

typedef struct scripted scripted;

scripted *scripted_start(void); /* answers nothing yet; ends the test program when it cannot start */
const char *scripted_endpoint(const scripted *s);
void scripted_stop(scripted *s); /* after the last client is closed */

/* From now on, calls of all methods are answered by this message and closed with this gRPC status. The bytes are
 * copied; NULL: there is no message. */
void scripted_answer(scripted *s, ew_slice message, int status, const char *text);

/* From now on, calls are taken and never answered. */
void scripted_be_silent(scripted *s);

/* A MemberList call is answered as by a member of this cluster (1 at first), whatever the script says, and is not
 * counted: that is how clients ask whose an endpoint is. With scripted_script_members on it is a call as any other. */
void scripted_belong_to(scripted *s, uint64_t cluster);
void scripted_script_members(scripted *s, bool on);

/* Whoever asks gets a token, of a new number each time; and `refusals` calls are closed with that status before the
 * answer counts. With GRPC_STATUS_OK the refusal is a watch's (ETCD P10): created and canceled, for the reason `text`.
 */
void scripted_give_tokens(scripted *s);
void scripted_refuse(scripted *s, int refusals, int status, const char *text);

/* From now on, calls without a token are refused, MemberList as well, and so are those whose token has a number below
 * `oldest` (1: all tokens of all fake servers are known). That is how etcd 3.5.29 behaves with authentication on, and
 * with a larger number like one that was restarted, or another cluster. */
void scripted_want_tokens(scripted *s, int oldest);

/* Of the calls that came since it was last asked: how many, how many of them with `hasleader`, the last one's path and
 * token; and apart from these how many asked for a token. */
typedef struct scripted_calls {
    int count, with_hasleader, tokens;
    char path[64], token[32];
} scripted_calls;

scripted_calls scripted_take_calls(scripted *s);

/* Waits until a call has come. */
void scripted_await_call(scripted *s);

#endif
