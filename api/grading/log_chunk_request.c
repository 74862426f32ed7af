#include "api/grading/log_chunk_request.h"

#include <string.h>

#include "api/api.h"
#include "api/grading/job_claim.h"
#include "api/grading/log_chunk_removal.h"
#include "api/metrics.h"

enum bw_code log_stream_check(const json_t *value, const char *path, const void *context,
                              struct bw_error *error)
{
    enum log_stream unused;
    char shown[80];
    (void)context;
    if (log_stream_parse(json_string_value(value), &unused))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be 'stdout' or 'stderr', not '%s'", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

/* The job's result, if the worker does not go on with it. */
struct ended_job {
    const char *worker;
    bool is_over;
};

static void log_chunk_take_result(const struct result *result, void *context)
{
    struct ended_job *ended = context;
    ended->is_over = !result_is_held_by(result, ended->worker);
}

/* BW_CONFLICT: the job has its result, and the worker is not its holder. */
static enum bw_code refuse_ended_job(struct api *api, const struct job_claim *claim,
                                     struct bw_error *error)
{
    char ids[1][JOB_ID_SIZE];
    struct ended_job ended = {.worker = claim->worker};
    memcpy(ids[0], claim->id, sizeof ids[0]);
    enum bw_code code = result_store_read(api->result_store, (const char(*)[JOB_ID_SIZE])ids, 1,
                                          false, log_chunk_take_result, &ended, error);
    if (code == BW_OK && ended.is_over)
        return bw_fail(error, BW_CONFLICT, "job '%s' has its result already", claim->id);
    return code;
}

/* Finds the attempt of the worker that sends the chunk. */
static enum bw_code claim_attempt(struct api *api, const struct log_chunk_request *request,
                                  struct job_claim *claim, uint32_t *attempt,
                                  struct bw_error *error)
{
    struct lease lease;
    enum bw_code code = job_claim_make(request->job, request->worker, request->protocol, claim,
                                       error);
    if (code == BW_OK)
        code = job_claim_check(api, claim, &lease, error);
    if (code == BW_NOT_FOUND || code == BW_CONFLICT)
        return BW_BAD_REQUEST;
    if (code == BW_OK && lease.end != LEASE_LIVE)
        return bw_fail(error, BW_CONFLICT,
                       "job '%s' is not worker '%s's any more: attempt %u ended", claim->id,
                       claim->worker, (unsigned)lease.attempt);
    if (code == BW_OK)
        code = refuse_ended_job(api, claim, error);
    if (code == BW_OK)
        *attempt = lease.attempt;
    return code;
}

static enum bw_code check_chunk(const struct log_chunk *chunk, struct bw_error *error)
{
    if (chunk->length == 0 || chunk->length > LOG_CHUNK_BYTES)
        return bw_fail(error, BW_BAD_REQUEST, "the chunk has %zu bytes: it must have 1 to %d",
                       chunk->length, (int)LOG_CHUNK_BYTES);
    return BW_OK;
}

enum bw_code log_chunk_receive(struct api *api, const struct log_chunk_request *request,
                               int64_t *size, struct bw_error *error)
{
    struct job_claim claim;
    struct log_place place;
    enum bw_code code = check_chunk(&request->chunk, error);
    if (code == BW_OK && !log_stream_parse(request->stream, &place.stream))
        code = bw_fail(error, BW_BAD_REQUEST, "stream: must be 'stdout' or 'stderr'");
    if (code == BW_OK)
        code = claim_attempt(api, request, &claim, &place.attempt, error);
    if (code != BW_OK)
        return code;
    memcpy(place.job, claim.id, sizeof place.job);
    code = log_chunk_store_add(api->log_chunk_store, &place, &request->chunk, size, error);
    if (code == BW_OK) {
        log_chunk_removal_note(api->log_removal, claim.id);
        metric_add(api->metrics, API_LOG_CHUNKS, 1);
        metric_add(api->metrics, API_LOG_BYTES_LIVE, (int64_t)request->chunk.length);
    }
    return code;
}
