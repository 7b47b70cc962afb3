/* The message that an effect of the watching core is sent as. Pure: the actor and the simulator both send it. */
#ifndef CORE_WATCHING_LETTER_H
#define CORE_WATCHING_LETTER_H

#include "actors.pb-c.h"
#include "core/watching.h"

/* The message and the parts that it points to; the bytes are the effect's. */
typedef struct watching_letter {
    Msg__Message message;
    Msg__Snapshot snapshot;
    Msg__Events events;
    Msg__Progress progress;
    Msg__Health health;
} watching_letter;

/* Writes the message of a WATCHING_DO_SEND_ effect. */
void watching_letter_write(watching_letter *letter, const watching_effect *effect);

#endif
