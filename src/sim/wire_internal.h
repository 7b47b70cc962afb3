/* What the files of the wire share. */
#ifndef SIM_WIRE_INTERNAL_H
#define SIM_WIRE_INTERNAL_H

#include "sim/worker.h"

/* wire_spoil.c: turns an answer into one that no etcd sends. */
void sim_spoil(ew_sim *s, const ProtobufCMessageDescriptor *kind, ew_slice *bytes);

/* Whether etcd cannot be reached. */
bool sim_away(const ew_sim *s);

/* wire_call.c, wire_stream.c */
void sim_calls_forget(sim_worker *w);
void sim_calls_free(ew_sim *s);
void sim_calls_lose(ew_sim *s);   /* what has not reached etcd never will, nor will what it has answered arrive */
void sim_streams_look(ew_sim *s); /* what etcd has for them is sent */
void sim_streams_forget(sim_worker *w);
void sim_streams_free(ew_sim *s);

#endif
