#include "api/grading/run_rerun.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/run_creation.h"
#include "api/grading/run_facts.h"
#include "api/grading/run_status.h"
#include "common/base/alloc.h"
#include "common/domain/rerun.h"
#include "common/store/job_results.h"

/* The outcomes of the students' jobs, in order; free(). In a run that is over, a job without a
 * result was cancelled. */
static enum job_outcome *student_outcomes(const struct run *run, const struct job_fact *facts)
{
    enum job_outcome *outcomes = bw_alloc_array(run->students, sizeof *outcomes);
    bool is_over = run_phase_is_over(run_status_phase(run, facts));
    for (uint32_t i = 0; i < run->students; i++) {
        outcomes[i] = facts[run->has_pre + i].outcome;
        if (is_over && outcomes[i] == OUTCOME_NONE)
            outcomes[i] = OUTCOME_CANCELLED;
    }
    return outcomes;
}

/* A search for the failures that have a signature. */
struct signature_search {
    const struct run *run;
    const char *signature;
    bool *has_signature; /* by student */
};

static void signature_search_take(uint32_t slot, const struct result *result, void *context)
{
    const struct signature_search *search = context;
    search->has_signature[slot - search->run->has_pre] = strcmp(result->signature,
                                                                search->signature) == 0;
}

/* Changes the outcome of failures that have another signature to OUTCOME_NONE. */
static enum bw_code rerun_drop_others(struct api *api, const struct run *run, const char *signature,
                                      enum job_outcome *outcomes, struct bw_error *error)
{
    struct slot_list failed = {bw_alloc_array(run->students, sizeof *failed.items), 0};
    struct signature_search search = {run, signature,
                                      bw_alloc_array(run->students, sizeof *search.has_signature)};
    for (uint32_t i = 0; i < run->students; i++)
        if (outcomes[i] == OUTCOME_FAILED)
            failed.items[failed.count++] = run->has_pre + i;
    enum bw_code code = job_results_read(&(struct job_results){.store = api->result_store,
                                                               .run = run,
                                                               .take = signature_search_take,
                                                               .context = &search},
                                         &failed, error);
    for (uint32_t i = 0; i < run->students; i++)
        if (!search.has_signature[i])
            outcomes[i] = OUTCOME_NONE;
    free(search.has_signature);
    free(failed.items);
    return code;
}

/* Reads an outcome per student, as rerun_select wants them. On BW_OK *outcomes is new, free(). */
static enum bw_code rerun_read_outcomes(struct api *api, const json_t *request,
                                        const struct run *earlier, enum job_outcome **outcomes,
                                        struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    const char *signature = json_string_value(json_object_get(request, "signature"));
    struct run_facts_found found;
    enum bw_code code = run_facts_read(&sources, earlier, &found, error);
    if (code != BW_OK)
        return code;
    *outcomes = student_outcomes(earlier, found.jobs);
    run_facts_clear(&found);
    if (signature != NULL)
        code = rerun_drop_others(api, earlier, signature, *outcomes, error);
    if (code != BW_OK)
        free(*outcomes);
    return code;
}

/* Selects the students and makes the definition of the new run. */
static enum bw_code run_rerun_define(struct api *api, json_t *request, const struct run *earlier,
                                     const struct definition *earlier_definition,
                                     rerun_check *check, struct definition **definition,
                                     struct bw_error *error)
{
    enum job_outcome *outcomes;
    uint32_t *selected = NULL, count;
    json_t *object = NULL;
    enum bw_code code = rerun_read_outcomes(api, request, earlier, &outcomes, error);
    if (code != BW_OK)
        return code;
    code = rerun_select(request, definition_students(earlier_definition), outcomes, &selected,
                        &count, error);
    free(outcomes);
    if (code == BW_OK) {
        object = rerun_object(earlier_definition, selected, count);
        code = check(api, object, error);
    }
    if (code == BW_OK)
        *definition = rerun_define(object, earlier->id, request, selected, count);
    json_decref(object);
    free(selected);
    return code;
}

static void rerun_describe(const json_t *request, const struct run *earlier,
                           const struct definition *definition, struct run *run)
{
    run_describe(definition, run);
    run->priority = rerun_priority(request, earlier->priority);
    memcpy(run->course, earlier->course, sizeof run->course);
    memcpy(run->assignment, earlier->assignment, sizeof run->assignment);
    memcpy(run->rerun_of, earlier->id, sizeof run->rerun_of);
}

enum bw_code run_rerun_prepare(struct api *api, json_t *request, const struct run *earlier,
                               rerun_check *check, struct definition **definition, struct run *run,
                               struct bw_error *error)
{
    struct definition *earlier_definition;
    if (earlier->started_ms == 0)
        return bw_fail(error, BW_CONFLICT,
                       "the grading run '%s' was never started: there is nothing to grade again",
                       earlier->id);
    enum bw_code code = definition_cache_get(api->definitions, earlier->id, &earlier_definition,
                                             error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", earlier->id);
    if (code != BW_OK)
        return code;
    code = run_rerun_define(api, request, earlier, earlier_definition, check, definition, error);
    definition_release(earlier_definition);
    if (code == BW_OK)
        rerun_describe(request, earlier, *definition, run);
    return code;
}
