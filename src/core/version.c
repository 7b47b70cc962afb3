#include <etcdworker/version.h>

const char *ew_version(void) {
    return EW_VERSION;
}
