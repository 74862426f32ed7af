/*
 * definition_answer: answers with what was submitted as a run, as it was parsed, without what
 * Broadway has added. Called by the handlers of both protocols, on the thread pool; waits for the
 * database.
 */
#ifndef API_GRADING_DEFINITION_ANSWER_H
#define API_GRADING_DEFINITION_ANSWER_H

#include "common/base/error.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* Answers with the definition of the run, which is taken, also if it fails, between the texts
 * `before` and `after` (static). BW_UNAVAILABLE, BW_INTERNAL. */
enum bw_code definition_answer_send(struct api *api, struct exchange *exchange, struct run *run,
                                    const char *before, const char *after, struct bw_error *error)
    BW_CHECKED;

#endif
