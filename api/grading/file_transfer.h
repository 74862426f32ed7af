/*
 * file_transfer: receives and sends the stored files of runs and jobs (common/store/file_store.h),
 * for clients and graders of both protocols. `scope` is "" in the classic protocol, the course's
 * name in the course protocol. Callers: handlers with ROUTE_BLOCKING; waits for the database.
 */
#ifndef API_GRADING_FILE_TRANSFER_H
#define API_GRADING_FILE_TRANSFER_H

#include <jansson.h>

#include "api/http/route.h"
#include "common/base/error.h"

/* The arguments of a route with BODY_FILE that is handled by file_transfer_receive: `digest`. A
 * route with more arguments has a row like it. */
extern const struct json_field file_transfer_fields[];

/* Stores the body of a route with BODY_FILE. If the argument `digest` is given, the body must have
 * it. On BW_OK *stored is new: {"digest", "size"}. BW_BAD_REQUEST: the body has another digest;
 * BW_UNAVAILABLE. */
enum bw_code file_transfer_receive(struct api *api, struct exchange *exchange, const char *scope,
                                   json_t **stored, struct bw_error *error) BW_CHECKED;

/* Answers with the bytes of the file whose digest is `digest` (its text, of any form): as
 * application/octet-stream, with ETag and Content-Length. BW_OK: it is answered, now or later.
 * BW_BAD_REQUEST: `digest` is not one, or this file is not stored; BW_UNAVAILABLE. */
enum bw_code file_transfer_send(struct api *api, struct exchange *exchange, const char *scope,
                                const char *digest, struct bw_error *error) BW_CHECKED;

#endif
