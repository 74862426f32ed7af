/*
 * run_file_claim: makes sure that the files of a run are stored before the run is: each file must
 * be there, the uses are written (common/store/file_store.h), and the sizes are entered into the
 * definition. Caller: run_creation, on the thread pool; waits for the database.
 */
#ifndef API_GRADING_RUN_FILE_CLAIM_H
#define API_GRADING_RUN_FILE_CLAIM_H

#include "common/base/error.h"
#include "common/domain/run_definition.h"

struct api;

/* The run that is about to be stored. */
struct run_file_claim {
    const char *run;    /* its id */
    const char *course; /* "": none */
    /* No other thread may read it yet: on BW_OK its entries have sizes. */
    const struct definition *definition;
};

/* BW_OK: the run's files are stored, and kept as long as the run. BW_BAD_REQUEST: one is not
 * stored; BW_TOO_LARGE: those of a job are too large together; BW_UNAVAILABLE. Uses that were
 * written on a failure are removed later as those of a run that does not exist. */
enum bw_code run_file_claim_take(struct api *api, const struct run_file_claim *claim,
                                 struct bw_error *error) BW_CHECKED;

#endif
