#include "api/grading/job_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/run_facts.h"
#include "api/grading/run_status.h"
#include "common/base/alloc.h"
#include "common/store/lease_store.h"
#include "common/store/log_store.h"
#include "common/store/run_store.h"

enum { LEASE_WINDOW = 4 };

static void job_log_take_lease(const struct lease *lease, void *context)
{
    uint32_t *attempt = context;
    if (lease->attempt > *attempt)
        *attempt = lease->attempt;
}

static void job_log_take_result(const struct result *result, void *context)
{
    struct job_log_state *state = context;
    state->is_over = !result_is_held(result);
    state->result = *result;
    state->result.text = state->result.files = NULL;
}

struct result job_log_left_over(const char *job, enum run_phase phase)
{
    const struct job_fact fact = {.outcome = OUTCOME_NONE};
    struct result result = {.outcome = run_status_job_outcome(&fact, phase)};
    snprintf(result.job, sizeof result.job, "%s", job);
    snprintf(result.reason, sizeof result.reason, "%s", run_status_job_left_over(&fact, phase));
    return result;
}

/* The phase of the run, as its status shows it. A job that was handed out is left over only if its
 * run was cancelled or is stored as over, so that a log that is read while its job runs costs no
 * facts. */
static enum bw_code read_phase(struct api *api, const struct job_log_state *state,
                               enum run_phase *phase, struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    struct run_facts_found found;
    struct job_id job;
    struct run run;
    if (!job_id_parse(state->place.job, &job))
        return bw_fail(error, BW_NOT_FOUND, "there is no grading job '%s'", state->place.job);
    enum bw_code code = run_store_read(api->run_store, job.run, &run, error);
    if (code != BW_OK)
        return code;
    *phase = run.phase;
    if (!run_phase_is_over(run.phase) && (state->place.attempt == 0 || run.cancelled_ms != 0)) {
        code = run_facts_read(&sources, &run, &found, error);
        if (code == BW_OK) {
            *phase = run_status_phase(&run, found.jobs);
            run_facts_clear(&found);
        }
    }
    run_clear(&run);
    return code;
}

/* Of a job without a result: whether its run is over. The result is read again then, since it may
 * have come in the meantime. */
static enum bw_code find_left_over(struct api *api, struct job_log_state *state,
                                   struct bw_error *error)
{
    enum run_phase phase;
    enum bw_code code = read_phase(api, state, &phase, error);
    if (code != BW_OK || !run_phase_is_over(phase))
        return code;
    state->is_over = true;
    state->result = job_log_left_over(state->place.job, phase);
    char id[1][JOB_ID_SIZE];
    memcpy(id[0], state->place.job, sizeof id[0]);
    return result_store_read(api->result_store, (const char(*)[JOB_ID_SIZE])id, 1, false,
                             job_log_take_result, state, error);
}

/* The result is read after the leases: an attempt that is found without a result runs, or ran a
 * moment ago. */
enum bw_code job_log_find(struct api *api, struct job_log_state *state, struct bw_error *error)
{
    char ids[1][JOB_ID_SIZE];
    uint32_t first = state->place.attempt + 1;
    enum bw_code code = BW_OK;
    memcpy(ids[0], state->place.job, sizeof ids[0]);
    for (; code == BW_OK && state->place.attempt + 1 >= first; first += LEASE_WINDOW)
        code = lease_store_read(api->lease_store, (const char(*)[JOB_ID_SIZE])ids, 1, first,
                                LEASE_WINDOW, job_log_take_lease, &state->place.attempt, error);
    if (code != BW_OK)
        return code;
    code = result_store_read(api->result_store, (const char(*)[JOB_ID_SIZE])ids, 1, false,
                             job_log_take_result, state, error);
    bool has_result = state->result.job[0] != '\0';
    return code == BW_OK && !has_result ? find_left_over(api, state, error) : code;
}

static void job_log_take_chunk(const struct log_chunk *chunk, void *context)
{
    log_pieces_add(context, chunk->offset, chunk->bytes, chunk->length);
}

/* The note of a result that was repaired, on a line of its own behind the stderr. */
static void add_note(const struct result *result, struct log_pieces *pieces)
{
    int64_t size = log_pieces_size(pieces);
    const struct log_piece *last = pieces->count > 0 ? &pieces->list[pieces->count - 1] : NULL;
    bool ends_line = last == NULL || last->bytes[last->length - 1] == '\n';
    if (result->note[0] == '\0')
        return;
    char *line = bw_format("%s[%s]\n", ends_line ? "" : "\n", result->note);
    log_pieces_add(pieces, size, line, strlen(line));
    free(line);
}

/* A job without a log, which was given up or which no grader ran, has the result's reason as its
 * stderr. */
static enum bw_code read_stored(struct api *api, const struct job_log_state *state,
                                struct log_pieces *pieces, struct bw_error *error)
{
    char *out = NULL, *err = NULL;
    struct log_cuts cuts = {.out = {.missing = 0}};
    const struct result *result = &state->result;
    enum bw_code code = BW_NOT_FOUND;
    if (result->digest[0] != '\0')
        code = log_store_read(api->log_store, result->job, result->digest, &out, &err, &cuts,
                              error);
    if (code != BW_OK && code != BW_NOT_FOUND)
        return code;
    bool is_err = state->place.stream == LOG_STDERR;
    if (err == NULL)
        err = bw_copy(result->reason);
    const char *text = is_err ? err : out;
    if (text != NULL)
        log_pieces_add_stored(pieces, text, strlen(text), is_err ? &cuts.err : &cuts.out);
    if (is_err)
        add_note(result, pieces);
    free(out);
    free(err);
    return BW_OK;
}

enum bw_code job_log_read(struct api *api, const struct job_log_state *state, int64_t from,
                          struct log_pieces *pieces, struct bw_error *error)
{
    if (state->is_over)
        return read_stored(api, state, pieces, error);
    if (state->place.attempt == 0)
        return BW_OK;
    int64_t start = from > LOG_CHUNK_BYTES ? from - LOG_CHUNK_BYTES : 0;
    enum bw_code code = log_chunk_store_read(api->log_chunk_store, &state->place, start,
                                             job_log_take_chunk, pieces, error);
    log_pieces_sort(pieces);
    return code;
}
