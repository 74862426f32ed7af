/*
 * run_results: answers with the results of runs, one row per student (result_rows.h), in one of
 * several formats (result_formats.h), as an answer that is made while it is sent (answer_stream.h):
 * at most a page of rows is in memory. Called by the handlers of both protocols, on the thread
 * pool; waits for the database.
 *
 * The answer for one run has an ETag if nothing in it can change any more: the run is stored as
 * over, with a result of each student's job, of which none was superseded; with reruns, each of
 * them, too. The ETag names the run's end, its reruns and its drift, and those of the reruns.
 */
#ifndef API_GRADING_RUN_RESULTS_H
#define API_GRADING_RUN_RESULTS_H

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* The arguments: format, merge. */
extern const struct json_field run_results_fields[];

/* Answers with the results of a run, in the format JSON {"grading_run_id", "results": [...]}
 * between the static texts `before` and `after`. Takes `run`, also if it fails. BW_UNAVAILABLE,
 * BW_INTERNAL. */
enum bw_code run_results_send(struct api *api, struct exchange *exchange, const struct run *run,
                              const char *before, const char *after, struct bw_error *error)
    BW_CHECKED;

/* The same of all runs of a course and an assignment (NULL: of all assignments), earlier ones
 * first; a run that is removed meanwhile is left out. JSON: {"course"[, "assignment"], "results":
 * [...]}. The names are copied. */
enum bw_code run_results_send_course(struct api *api, struct exchange *exchange, const char *course,
                                     const char *assignment, const char *before, const char *after,
                                     struct bw_error *error) BW_CHECKED;

#endif
