/* The library's version: semantic versioning; before 1.0 a minor release may change the API. */
#ifndef ETCDWORKER_VERSION_H
#define ETCDWORKER_VERSION_H

#include <etcdworker/types.h>

#define EW_VERSION_MAJOR 0
#define EW_VERSION_MINOR 1
#define EW_VERSION_PATCH 0
#define EW_VERSION       "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif
/* The version of the library that is loaded, which may differ from the one in this header. Never NULL. Any thread. */
EW_API const char *ew_version(void);
#ifdef __cplusplus
}
#endif
#endif
