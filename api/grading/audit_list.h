/*
 * audit_list: GET /api/v1/audit and /api/v1/audit/{course}: the entries of the audit, the newest
 * first, in pages. Called by the handlers of the protocols, on the thread pool; waits for the
 * database.
 */
#ifndef API_GRADING_AUDIT_LIST_H
#define API_GRADING_AUDIT_LIST_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"

struct api;
struct exchange;

/* The arguments: "course" (not for a course's own list), "run", "actor", "action", "since",
 * "until", "after", "limit". */
extern const struct json_field audit_list_fields[];
extern const struct json_field audit_list_course_fields[];

/* Reads a page, by the arguments of the request. `course`: only entries of this course; NULL: those
 * of the argument "course", or all. On BW_OK *page is a new reference: {"entries": [...], "next":
 * id}; without "next" no more entries follow. BW_BAD_REQUEST, BW_UNAVAILABLE. */
enum bw_code audit_list_read(struct api *api, struct exchange *exchange, const char *course,
                             json_t **page, struct bw_error *error) BW_CHECKED;

#endif
