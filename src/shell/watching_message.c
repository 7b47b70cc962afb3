#include "shell/watching_message.h"
#include "core/slice.h"

void watching_message_write(watching_message *out, const watching_effect *effect) {
    msg__message__init(&out->message);
    out->message.epoch = effect->epoch;
    switch (effect->type) {
    case WATCHING_DO_SEND_SNAPSHOT:
        msg__snapshot__init(&out->snapshot);
        out->snapshot.revision = effect->revision;
        out->snapshot.page = slice_bytes(effect->bytes);
        out->snapshot.first = effect->first;
        out->snapshot.last = effect->last;
        out->snapshot.rewritten = effect->rewritten;
        out->message.snapshot = &out->snapshot;
        break;
    case WATCHING_DO_SEND_EVENTS:
        msg__events__init(&out->events);
        out->events.revision = effect->revision;
        out->events.response = slice_bytes(effect->bytes);
        out->message.events = &out->events;
        break;
    case WATCHING_DO_SEND_PROGRESS:
        msg__progress__init(&out->progress);
        out->progress.revision = effect->revision;
        out->message.progress = &out->progress;
        break;
    default:
        msg__health__init(&out->health);
        out->health.connected = effect->connected;
        out->health.interruptions = effect->interruptions;
        out->health.unsure = effect->unsure;
        out->message.health = &out->health;
        break;
    }
}
