/*
 * status_answer: answers with the status of a run (run_status.h), part by part (answer_stream.h).
 * Called by the handlers of both protocols, on the thread pool; waits for the database.
 */
#ifndef API_GRADING_STATUS_ANSWER_H
#define API_GRADING_STATUS_ANSWER_H

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* The arguments: "results", "students", "outcome", "student", "offset", "limit". */
extern const struct json_field status_answer_fields[];

/* Answers between the texts `before` and `after` (static), by the exchange's arguments, which fit
 * status_answer_fields. Takes `run`, also if it fails. BW_UNAVAILABLE, BW_INTERNAL. */
enum bw_code status_answer_send(struct api *api, struct exchange *exchange, const struct run *run,
                                const char *before, const char *after, struct bw_error *error)
    BW_CHECKED;

#endif
