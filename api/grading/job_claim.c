#include "api/grading/job_claim.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "common/base/json.h"
#include "common/domain/run.h"
#include "common/store/run_store.h"
#include "common/store/worker_store.h"

enum { LEASE_WINDOW = 4 };

struct search {
    const char *worker;
    uint32_t found; /* leases in this window */
    struct lease last;
};

static void claim_take_lease(const struct lease *lease, void *context)
{
    struct search *search = context;
    search->found++;
    if (strcmp(lease->worker, search->worker) == 0 && lease->attempt > search->last.attempt)
        search->last = *lease;
}

/* Attempts have no gaps: on by windows until one is not full. last->attempt is 0 if the worker has
 * none. */
static enum bw_code search_leases(struct api *api, const struct job_claim *claim,
                                  struct lease *last, struct bw_error *error)
{
    struct search search = {.worker = claim->worker};
    char ids[1][JOB_ID_SIZE];
    memcpy(ids[0], claim->id, sizeof ids[0]);
    uint32_t first = 1;
    do {
        search.found = 0;
        enum bw_code code = lease_store_read(api->lease_store, (const char(*)[JOB_ID_SIZE])ids, 1,
                                             first, LEASE_WINDOW, claim_take_lease, &search, error);
        if (code != BW_OK)
            return code;
        first += LEASE_WINDOW;
    } while (search.found == LEASE_WINDOW);
    *last = search.last;
    return BW_OK;
}

static enum bw_code claim_refuse_unknown(const char *job, struct bw_error *error)
{
    char shown[80];
    return bw_fail(error, BW_NOT_FOUND, "job '%s' is not known",
                   text_show(job, shown, sizeof shown));
}

enum bw_code job_claim_make(const char *job, const char *worker, enum protocol protocol,
                            struct job_claim *claim, struct bw_error *error)
{
    *claim = (struct job_claim){.protocol = protocol};
    if (!job_id_parse(job, &claim->job))
        return claim_refuse_unknown(job, error);
    job_id_format(&claim->job, claim->id);
    snprintf(claim->worker, sizeof claim->worker, "%s", worker);
    return BW_OK;
}

/* Why this worker may not send anything: there is no such job, or it was not its own. */
static enum bw_code claim_refuse_stranger(struct api *api, const struct job_claim *claim,
                                          struct bw_error *error)
{
    struct run run;
    uint32_t slot;
    enum bw_code code = run_store_read(api->run_store, claim->job.run, &run, error);
    if (code == BW_NOT_FOUND)
        return claim_refuse_unknown(claim->id, error);
    if (code != BW_OK)
        return code;
    bool is_known = run.protocol == claim->protocol &&
                    run_job_slot(run.has_pre, run.students, run.has_post, claim->job.kind,
                                 claim->job.index, &slot);
    run_clear(&run);
    if (!is_known)
        return claim_refuse_unknown(claim->id, error);
    return bw_fail(error, BW_CONFLICT, "job '%s' was never handed to worker '%s'", claim->id,
                   claim->worker);
}

enum bw_code job_claim_check(struct api *api, const struct job_claim *claim, struct lease *last,
                             struct bw_error *error)
{
    enum bw_code code = search_leases(api, claim, last, error);
    if (code == BW_OK && last->attempt == 0)
        return claim_refuse_stranger(api, claim, error);
    return code;
}

/* A second result of the same worker is not late, but another one. */
bool job_claim_may_be_excused(const struct job_claim *claim, const struct result *first)
{
    bool is_withdrawn = first->outcome == OUTCOME_CANCELLED || first->outcome == OUTCOME_SUPERSEDED;
    return is_withdrawn && protocol_properties(claim->protocol)->has_unforgiving_graders &&
           strcmp(first->worker, claim->worker) != 0;
}

enum bw_code job_claim_read_excuse(struct api *api, const struct job_claim *claim, bool *is_excused,
                                   struct bw_error *error)
{
    struct worker worker = {.wants_cancels = false};
    enum bw_code code = worker_store_read(api->worker_store, claim->worker, &worker, error);
    if (code != BW_OK && code != BW_NOT_FOUND)
        return code;
    *is_excused = !worker.wants_cancels;
    return BW_OK;
}

enum bw_code job_claim_refuse_second(const char *job, const char *worker,
                                     const struct result *first, struct bw_error *error)
{
    const char *outcome = outcome_name(first->outcome);
    if (first->worker[0] == '\0')
        return bw_fail(error, BW_CONFLICT, "job '%s' has its result already: it %s%s%s", job,
                       first->outcome == OUTCOME_CANCELLED    ? "was cancelled"
                       : first->outcome == OUTCOME_SUPERSEDED ? "was superseded"
                                                              : outcome,
                       first->reason[0] == '\0' ? "" : ", ", first->reason);
    if (strcmp(first->worker, worker) == 0)
        return bw_fail(error, BW_CONFLICT,
                       "job '%s' has its result already: this worker sent another one before (%s)",
                       job, outcome);
    return bw_fail(error, BW_CONFLICT, "job '%s' has its result already: from another grader (%s)",
                   job, outcome);
}
