/*
 * job_receipt: makes the receipt (common/domain/receipt.h) of a grader's result, which is stored
 * with the result. Callers: hand_outs, which notes what a job was handed out with, and
 * result_submission. Safe from any thread.
 */
#ifndef API_GRADING_JOB_RECEIPT_H
#define API_GRADING_JOB_RECEIPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/secret.h"
#include "common/domain/protocol_map.h"
#include "common/domain/run_definition.h"
#include "common/domain/trace.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"

struct api;

/* A hand-out, as the receipt states it. */
struct job_handing {
    uint32_t attempt;
    int64_t handed_out_ms;              /* database date */
    char traceparent[TRACEPARENT_SIZE]; /* for the result's spans; "": none */
    char definition[SHA256_TEXT_SIZE], stages[SHA256_TEXT_SIZE]; /* digests; "": not known */
};

/* Notes the digests of a job that is about to be handed out. Takes about as long as building the
 * job. */
void job_handing_note(struct definition *definition, const struct job_id *job,
                      struct job_handing *handing);

/* The same from the lease of a hand-out that this replica does not remember. Waits for the
 * database. BW_UNAVAILABLE. */
enum bw_code job_handing_read(struct api *api, const struct job_id *job, const struct lease *lease,
                              struct job_handing *handing, struct bw_error *error) BW_CHECKED;

/* Makes the receipt of `result`, which is complete and is about to be stored, and sets its date to
 * now. An earlier receipt in it is freed; the new text is owned by the caller. `images`:
 * receipt_images, may be NULL. False: this replica does not know its key yet; nothing has changed.
 */
bool job_receipt_make(struct api *api, enum protocol protocol, const struct job_handing *handing,
                      const json_t *images, struct result *result);

#endif
