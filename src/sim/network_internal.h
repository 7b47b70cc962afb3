/* Declarations that the files network*.c share. */
#ifndef SIM_NETWORK_INTERNAL_H
#define SIM_NETWORK_INTERNAL_H

#include "sim/worker.h"

/* network_spoil.c: makes a response invalid. */
void sim_spoil(ew_sim *s, const ProtobufCMessageDescriptor *kind, ew_slice *bytes);

/* Returns whether etcd is unreachable. */
bool sim_away(const ew_sim *s);

/* network_call.c, network_stream.c */
void sim_calls_forget(sim_worker *w);
void sim_calls_free(ew_sim *s);
void sim_calls_lose(ew_sim *s);   /* loses all requests and responses in flight */
void sim_streams_look(ew_sim *s); /* sends the responses that are queued for the streams */
void sim_streams_forget(sim_worker *w);
void sim_streams_free(ew_sim *s);

#endif
