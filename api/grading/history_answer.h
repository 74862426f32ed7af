/*
 * history_answer: GET /api/v1/history and /api/v1/history/{course}: the samples of the cluster's
 * load, as points of time. Called by the handlers of the protocols, on the thread pool; waits for
 * the database.
 */
#ifndef API_GRADING_HISTORY_ANSWER_H
#define API_GRADING_HISTORY_ANSWER_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"

struct api;
struct exchange;

/* The arguments: "course" (not for a course's own history), "from", "to", "step". */
extern const struct json_field history_fields[];
extern const struct json_field history_course_fields[];

/* Reads the points that the arguments of the request ask for. `course`: only the load of this
 * course, by its token; NULL: of the cluster. On BW_OK *answer is a new reference: {"from", "to",
 * "step", "points": [...]}. BW_BAD_REQUEST, BW_UNAVAILABLE. */
enum bw_code history_answer_read(struct api *api, struct exchange *exchange, const char *course,
                                 json_t **answer, struct bw_error *error) BW_CHECKED;

#endif
