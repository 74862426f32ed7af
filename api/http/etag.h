/*
 * etag: the conditional requests of RFC 9110 for answers with an ETag. The comparison is pure. Any
 * thread.
 */
#ifndef API_HTTP_ETAG_H
#define API_HTTP_ETAG_H

#include <stdbool.h>

struct exchange;

/* Whether the value of the header If-None-Match (NULL: it is absent) names the tag, or is "*".
 * `etag` has its quotes. */
bool etag_is_named(const char *header, const char *etag);

/* Adds the header ETag to the answer. If the request says that its sender has that answer already,
 * answers 304: true, and the exchange must not be touched. */
bool etag_answer(struct exchange *exchange, const char *etag);

#endif
