/*
 * job_detail: answers with all that is known of one job: what the list shows of it (job_entry.h),
 * its attempts one by one, and its result. Called by the handlers of both protocols, on the thread
 * pool; waits for the database.
 */
#ifndef API_GRADING_JOB_DETAIL_H
#define API_GRADING_JOB_DETAIL_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

struct job_detail_request {
    uint32_t slot;
    const char *logs; /* the path of the job's whole logs, shown once it has ended; NULL: there is
                         none; copied */
    const char *log;  /* the path of the job's log, without its argument "stream"; copied */
    const char *before, *after; /* texts around the answer; static */
};

/* Answers {"run_id", the members of job_entry_make with a list as "attempts"[, "reason"], "log":
 * {"stdout": path, "stderr": path}[, "logs"], "result"[, "note"][, "files"][, "score"][,
 * "max_score"][, "tests"][, "receipt": run_receipts_write]}. Takes `run`, also if it fails.
 * BW_UNAVAILABLE, BW_INTERNAL. */
enum bw_code job_detail_send(struct api *api, struct exchange *exchange, const struct run *run,
                             const struct job_detail_request *request, struct bw_error *error)
    BW_CHECKED;

#endif
