/* A watch response of etcd that a test then changes. */
#ifndef TESTS_WATCH_MESSAGE_H
#define TESTS_WATCH_MESSAGE_H

#include "etcd.pb-c.h"

static Pb__ResponseHeader header;
static Pb__WatchResponse message;
static Pb__Event events[4];
static Pb__KeyValue kvs[4];
static Pb__Event *list[4] = {&events[0], &events[1], &events[2], &events[3]};

/* Builds a valid message of `count` puts at revisions 10, 11, ..., in which each test then changes something. */
static inline void good_message(size_t count) {
    pb__response_header__init(&header);
    pb__watch_response__init(&message);
    header.cluster_id = 1;
    header.revision = 20;
    message.header = &header;
    for (size_t i = 0; i < 4; i++) {
        pb__event__init(&events[i]);
        pb__key_value__init(&kvs[i]);
        kvs[i].key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
        kvs[i].create_revision = 10;
        kvs[i].mod_revision = 10 + (int64_t)i;
        kvs[i].version = 1 + (int64_t)i;
        events[i].kv = &kvs[i];
    }
    message.events = list;
    message.n_events = count;
}

#endif
