#include "common/domain/job_size.h"

#include <inttypes.h>
#include <stdio.h>

enum { WHERE_SIZE = 64 };

size_t json_text_bytes(const json_t *value)
{
    return json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
}

size_t json_string_bytes(const char *text, size_t length)
{
    size_t bytes = length + 2;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\' || (byte >= '\b' && byte <= '\r' && byte != '\v'))
            bytes += 1;
        else if (byte < 0x20)
            bytes += 5; /* \u00XX */
    }
    return bytes;
}

bool run_size_add(struct run_size *size, const struct sized_job *job)
{
    int64_t limit = size->limits->max_job_bytes;
    size->bytes += job->bytes;
    if (job->bytes > size->largest.bytes)
        size->largest = *job;
    return limit == 0 || job->bytes <= (uint64_t)limit;
}

bool run_size_fits(const struct run_size *size)
{
    int64_t limit = size->limits->max_run_bytes;
    return limit == 0 || size->bytes <= (uint64_t)limit;
}

enum bw_code run_size_refuse_job(const struct run_size *size, const struct sized_job *job,
                                 const char *pipeline, size_t stage, struct bw_error *error)
{
    char who[WHERE_SIZE] = "";
    if (job->kind == JOB_STUDENT)
        snprintf(who, sizeof who, ", student %zu", job->student);
    return bw_fail(error, BW_TOO_LARGE,
                   "%s[%zu].env%s: the job's stages take %" PRIu64
                   " bytes once expanded, this one the most of them; the limit is %" PRId64
                   " (--max-job-bytes)",
                   pipeline, stage, who, job->bytes, size->limits->max_job_bytes);
}

enum bw_code run_size_refuse(const struct run_size *size, const char *pipeline, size_t stage,
                             struct bw_error *error)
{
    return bw_fail(error, BW_TOO_LARGE,
                   "%s[%zu].env: the stages of all jobs of the run take %" PRIu64
                   " bytes once expanded, up to %" PRIu64
                   " a job and most of them in this stage; the limit is %" PRId64
                   " (--max-run-bytes)",
                   pipeline, stage, size->bytes, size->largest.bytes, size->limits->max_run_bytes);
}
