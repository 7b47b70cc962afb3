/* One endpoint as text. */
#ifndef ETCD_ENDPOINT_TEXT_H
#define ETCD_ENDPOINT_TEXT_H

#include "etcd/endpoints.h"

/* Reads one entry of the list, without blanks around it. EW_ERR_INVALID names the entry and its mistake; what may be a
 * password in it is not repeated. */
int endpoint_parse(endpoint *e, const char *text, ew_error *err);

#endif
