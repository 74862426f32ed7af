/*
 * submission_limits: what a deployment allows in a submission, for all that check one.
 */
#ifndef COMMON_DOMAIN_SUBMISSION_LIMITS_H
#define COMMON_DOMAIN_SUBMISSION_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct submission_limits {
    bool allow_privileged;
    /* Of a job's stages once expanded, and of those of all jobs of a run
     * (common/domain/job_size.h); 0: no limit. */
    int64_t max_job_bytes, max_run_bytes;
    /* Of all files of a job together (common/domain/file_list.h); 0: no limit. */
    int64_t max_job_files_bytes;
};

#endif
