/* Parses the text of one endpoint. */
#ifndef ETCD_ENDPOINT_TEXT_H
#define ETCD_ENDPOINT_TEXT_H

#include "etcd/endpoints.h"

/* Parses one entry of the list, without blanks around it. EW_ERR_INVALID names the entry and the mistake; the text
 * before an '@', which may hold a password, is left out. */
int endpoint_parse(endpoint *e, const char *text, ew_error *err);

#endif
