/* `--elect`: a thread that stands for election, and, once it leads, watches over that. Of the worker it knows nothing:
 * the worker is started when this says that we lead, and has ended before this resigns. */
#ifndef SERVICE_CAMPAIGN_H
#define SERVICE_CAMPAIGN_H

#include <etcdworker/election.h>

typedef struct campaign campaign;

typedef enum campaign_state {
    CAMPAIGN_STANDING,
    CAMPAIGN_LEADING,
    CAMPAIGN_OVER, /* lost, failed, or cancelled */
} campaign_state;

/* Starts to stand, with a client and a session of its own. */
int campaign_start(campaign **out, const ew_options *options, ew_error *err);

/* A file descriptor that is readable when the state has changed since it was last looked at. */
int campaign_fd(const campaign *c);

/* The state. If it is OVER, the status of why, and `err`. */
campaign_state campaign_look(campaign *c, int *status, ew_error *err);

/* Ours, in the state LEADING. Valid until campaign_end. */
ew_election *campaign_election(campaign *c);

/* ew_client_reload of its client. */
int campaign_reload(campaign *c, ew_error *err);

/* Ends the standing; the state will be OVER, with EW_ERR_CANCELLED. Returns at once. */
void campaign_cancel(campaign *c);

/* Ends it all: resigns, if we lead, and ends the session. NULL is fine. */
void campaign_end(campaign *c);

#endif
