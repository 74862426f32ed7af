/*
 * run_spans: the spans of a run's trace that a replica exports (docs/operations.md#traces): storing
 * the run, the stages of a job as its grader reports them, and storing the job's result. Without
 * --otlp-endpoint, and for traces that are not sampled, none. Safe from any thread; no function
 * waits.
 */
#ifndef API_GRADING_RUN_SPANS_H
#define API_GRADING_RUN_SPANS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/grading/job_receipt.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* Takes the run's `traceparent` from the request's header; a malformed one counts as none. */
void run_spans_take(const struct exchange *exchange, struct run *run);

/* The run, whose creation began at run->created_ms, is stored. */
void run_spans_submitted(struct api *api, const struct run *run);

enum { RUN_SPANS_STAGES = 16 };

/* A result on its way. */
struct run_spans_result {
    int64_t received_ms; /* database date */
    unsigned stages;     /* how many of them are known; later ones are left out */
    int64_t stage_ms[RUN_SPANS_STAGES];
    bool has_failed[RUN_SPANS_STAGES];
};

/* Notes when the result came, and the times of its stages, if it is as scripts/grader makes it
 * (docs/protocol.md): {"stages": [{"seconds", "exit_code"}]}. `result` is borrowed. */
void run_spans_note_result(struct api *api, const json_t *result, struct run_spans_result *noted);

/* The result of `job` is stored. The last stage is taken to have ended when the result came. */
void run_spans_result_stored(struct api *api, const struct job_id *job,
                             const struct job_handing *handing,
                             const struct run_spans_result *noted);

#endif
