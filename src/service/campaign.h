/* `--elect`: a thread that campaigns in an election and, once elected, waits for the loss of the leadership. It does
 * not use the worker: the caller starts the worker in state LEADING, and ends it before campaign_end resigns. */
#ifndef SERVICE_CAMPAIGN_H
#define SERVICE_CAMPAIGN_H

#include <etcdworker/election.h>

typedef struct campaign campaign;

typedef enum campaign_state {
    CAMPAIGN_CANDIDATE,
    CAMPAIGN_LEADING,
    CAMPAIGN_OVER, /* lost, failed, or cancelled */
} campaign_state;

/* Starts the campaign, with its own client and session. */
int campaign_start(campaign **out, const ew_options *options, ew_error *err);

/* Returns a file descriptor that is readable when the state has changed since the last campaign_look. */
int campaign_fd(const campaign *c);

/* Returns the state. In state OVER, `*status` and `err` have the reason. */
campaign_state campaign_look(campaign *c, int *status, ew_error *err);

/* Returns the election, in state LEADING. The campaign owns it; valid until campaign_end. */
ew_election *campaign_election(campaign *c);

/* Calls ew_client_reload for the campaign's client. */
int campaign_reload(campaign *c, ew_error *err);

/* Cancels the campaign: the state becomes OVER, with EW_ERR_CANCELLED. Does not wait for that. */
void campaign_cancel(campaign *c);

/* Ends the campaign: resigns if elected, ends the session and frees `c`. NULL is allowed. */
void campaign_end(campaign *c);

#endif
