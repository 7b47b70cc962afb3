#include "alloc/failing.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects everything below */
static failing_site *first, **end = &first, *target;
static unsigned left;
static bool armed, failed;

static _Thread_local bool spared;

bool failing_now(failing_site *site) {
    pthread_mutex_lock(&lock);
    bool fails = false;
    if (armed && !spared) {
        if (!site->known) {
            site->known = true;
            *end = site;
            end = &site->next;
        }
        site->visits++;
        fails = site == target && left > 0 && --left == 0;
        failed |= fails;
    }
    pthread_mutex_unlock(&lock);
    if (fails)
        errno = ENOMEM;
    return fails;
}

static void *allocate(void *site, size_t size) {
    return failing_now(site) ? NULL : malloc(size);
}

static void release(void *site, void *data) {
    (void)site;
    free(data);
}

ProtobufCMessage *failing_unpack(failing_site *site, const ProtobufCMessageDescriptor *type,
                                 ProtobufCAllocator *allocator, size_t len, const uint8_t *data) {
    ProtobufCAllocator ours = {allocate, release, site};
    return protobuf_c_message_unpack(type, allocator ? allocator : &ours, len, data);
}

void failing_arm(failing_site *site, unsigned nth) {
    pthread_mutex_lock(&lock);
    for (failing_site *s = first; s; s = s->next)
        s->visits = 0;
    target = site;
    left = nth;
    failed = false;
    armed = true;
    pthread_mutex_unlock(&lock);
}

bool failing_disarm(void) {
    pthread_mutex_lock(&lock);
    armed = false;
    bool did = failed;
    pthread_mutex_unlock(&lock);
    return did;
}

void failing_spare(bool spare) {
    spared = spare;
}

failing_site *failing_first(void) {
    pthread_mutex_lock(&lock);
    failing_site *s = first;
    pthread_mutex_unlock(&lock);
    return s;
}
