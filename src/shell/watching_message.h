/* The message that carries an effect of the watching core. */
#ifndef SHELL_WATCHING_MESSAGE_H
#define SHELL_WATCHING_MESSAGE_H

#include "actors.pb-c.h"
#include "core/watching.h"

/* The message and its parts; the bytes belong to the effect. */
typedef struct watching_message {
    Msg__Message message;
    Msg__Snapshot snapshot;
    Msg__Events events;
    Msg__Progress progress;
    Msg__Health health;
} watching_message;

/* Fills the message of a WATCHING_DO_SEND_ effect. */
void watching_message_write(watching_message *out, const watching_effect *effect);

#endif
