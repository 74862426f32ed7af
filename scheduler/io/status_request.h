/*
 * status_request: the head of an HTTP/1 request to the status port. Pure; safe from any thread.
 *
 * The status port needs little of HTTP: paths without arguments, no bodies, one request per
 * connection. So the end of a request never has to be found.
 */
#ifndef SCHEDULER_IO_STATUS_REQUEST_H
#define SCHEDULER_IO_STATUS_REQUEST_H

#include <stddef.h>

#include "common/base/request_id.h"

enum {
    STATUS_HEAD_MAX = 8192,
    STATUS_METHOD_SIZE = 32,
    STATUS_PATH_SIZE = 128,
    STATUS_HOST_SIZE = 264
};

struct status_request {
    char method[STATUS_METHOD_SIZE];
    char path[STATUS_PATH_SIZE]; /* without the query */
    char host[STATUS_HOST_SIZE]; /* value of the header Host; "": none */
};

enum {
    STATUS_REQUEST_PARTIAL = 0, /* the head is incomplete */
    STATUS_REQUEST_WHOLE = 200
};

/* Reads the received part of a request. Returns one of the two values above (*request is filled for
 * a complete head), or the status of the refusal: 400, 414, 431 or 505. A method, path or host that
 * is longer than any valid one is truncated. */
int status_request_read(const char *text, size_t length, struct status_request *request);

/* Reads the X-Request-Id from the received part of a request; "" if there is none, or if it is not
 * valid (common/base/request_id.h). */
void status_request_find_id(const char *text, size_t length, char id[REQUEST_ID_SIZE]);

#endif
