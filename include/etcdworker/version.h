/* The library's version. Semantic versioning; before 1.0 a minor release may change the API. */
#ifndef ETCDWORKER_VERSION_H
#define ETCDWORKER_VERSION_H

#include <etcdworker/types.h>

/* The version that a program is compiled with. The build reads it from these three lines. */
#define EW_VERSION_MAJOR 0
#define EW_VERSION_MINOR 2
#define EW_VERSION_PATCH 0

/* One number that rises with each release, for #if: 10203 is version 1.2.3. */
#define EW_VERSION_NUMBER (EW_VERSION_MAJOR * 10000 + EW_VERSION_MINOR * 100 + EW_VERSION_PATCH)

/* The version as text: "1.2.3". */
#define EW_VERSION                 EW_VERSION_TEXT_(EW_VERSION_MAJOR, EW_VERSION_MINOR, EW_VERSION_PATCH)
#define EW_VERSION_TEXT_(a, b, c)  EW_VERSION_TEXT2_(a, b, c)
#define EW_VERSION_TEXT2_(a, b, c) #a "." #b "." #c

#ifdef __cplusplus
extern "C" {
#endif
/* Returns the version of the loaded library, which may differ from the one in this header. Never NULL. Any thread. */
EW_API const char *ew_version(void);
#ifdef __cplusplus
}
#endif
#endif
