/*
 * job_list: answers with the jobs of a run, page by page, in the order of their ids, and filtered.
 * Called by the handlers of both protocols, on the thread pool; waits for the database.
 *
 * A job has one place in the order, and no job is added to a run, so the pages of an unfiltered
 * list hold each job exactly once, whatever happens in between. Of the results only what the list
 * shows is read, for the jobs of the page; with a signature, for the failed jobs up to its end.
 */
#ifndef API_GRADING_JOB_LIST_H
#define API_GRADING_JOB_LIST_H

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* The arguments of a list: state, outcome, signature, after, limit. */
extern const struct json_field job_list_fields[];

/* The check of an outcome, for the arguments of other endpoints. BW_BAD_REQUEST. */
enum bw_code job_list_check_outcome(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error) BW_CHECKED;

/* Answers {"jobs": [...][, "next"]} between the texts `before` and `after` (static), by the
 * exchange's arguments, which fit job_list_fields. Takes `run`, also if it fails. BW_BAD_REQUEST:
 * the argument `after` names no job of the run. BW_UNAVAILABLE, BW_INTERNAL. */
enum bw_code job_list_send(struct api *api, struct exchange *exchange, const struct run *run,
                           const char *before, const char *after, struct bw_error *error)
    BW_CHECKED;

#endif
