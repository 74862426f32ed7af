/*
 * status_request: the head of an HTTP/1 request to the status port. Pure; safe from any thread.
 *
 * Little of HTTP is needed there: paths without arguments, no bodies, one request per connection,
 * so that it never matters where a request ends.
 */
#ifndef SCHEDULER_IO_STATUS_REQUEST_H
#define SCHEDULER_IO_STATUS_REQUEST_H

#include <stddef.h>

#include "common/base/request_id.h"

enum { STATUS_HEAD_MAX = 8192, STATUS_METHOD_SIZE = 32, STATUS_PATH_SIZE = 128 };

struct status_request {
    char method[STATUS_METHOD_SIZE];
    char path[STATUS_PATH_SIZE]; /* without the query */
};

enum {
    STATUS_REQUEST_PARTIAL = 0, /* more must come */
    STATUS_REQUEST_WHOLE = 200
};

/* Reads what has come of a request. Returns one of the two above, with *request filled for a whole
 * one, or the status of the refusal: 400, 414, 431 or 505. A method or a path that is longer than
 * any that is served is cut. */
int status_request_read(const char *text, size_t length, struct status_request *request);

/* Reads the X-Request-Id of a request of which this much has come, whole or not; "" if there is
 * none, or it is not sound (common/base/request_id.h). */
void status_request_find_id(const char *text, size_t length, char id[REQUEST_ID_SIZE]);

#endif
