/*
 * run_list: GET /api/v1/grading_run and GET /api/v1/grading_runs/{course}[/{assignment}]: the runs
 * of a course, or of the classic protocol, the newest first, filtered, in pages. Called by the
 * handlers of both protocols, on the thread pool; waits for the database.
 *
 * A run's place is its date and its id, which never change, and so is the name of a page. So the
 * pages hold each run that existed when the first one was read exactly once, whatever is created or
 * removed meanwhile. What a run shows is what is stored of it, about a second behind its jobs; no
 * leases and results are read.
 */
#ifndef API_GRADING_RUN_LIST_H
#define API_GRADING_RUN_LIST_H

#include "common/base/error.h"
#include "common/base/json.h"

struct api;
struct exchange;

/* The arguments: "state", "name", "label", "after", "limit"; of the runs of a course also
 * "assignment". */
extern const struct json_field run_list_fields[];
extern const struct json_field run_list_course_fields[];

/* Answers {"grading_runs": [...][, "next"]} between the texts `before` and `after` (static), by the
 * exchange's arguments. `course`: "" for runs of the classic protocol; `assignment`: NULL for that
 * of the argument, or all. BW_UNAVAILABLE. */
enum bw_code run_list_send(struct api *api, struct exchange *exchange, const char *course,
                           const char *assignment, const char *before, const char *after,
                           struct bw_error *error) BW_CHECKED;

#endif
