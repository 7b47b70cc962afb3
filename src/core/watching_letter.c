#include "core/watching_letter.h"
#include "core/slice.h"

void watching_letter_write(watching_letter *letter, const watching_effect *effect) {
    msg__message__init(&letter->message);
    letter->message.epoch = effect->epoch;
    switch (effect->type) {
    case WATCHING_DO_SEND_SNAPSHOT:
        msg__snapshot__init(&letter->snapshot);
        letter->snapshot.revision = effect->revision;
        letter->snapshot.page = slice_bytes(effect->bytes);
        letter->snapshot.first = effect->first;
        letter->snapshot.last = effect->last;
        letter->snapshot.rewritten = effect->rewritten;
        letter->message.snapshot = &letter->snapshot;
        break;
    case WATCHING_DO_SEND_EVENTS:
        msg__events__init(&letter->events);
        letter->events.revision = effect->revision;
        letter->events.response = slice_bytes(effect->bytes);
        letter->message.events = &letter->events;
        break;
    case WATCHING_DO_SEND_PROGRESS:
        msg__progress__init(&letter->progress);
        letter->progress.revision = effect->revision;
        letter->message.progress = &letter->progress;
        break;
    default:
        msg__health__init(&letter->health);
        letter->health.connected = effect->connected;
        letter->health.interruptions = effect->interruptions;
        letter->health.unsure = effect->unsure;
        letter->message.health = &letter->health;
        break;
    }
}
