#include "api/run_creation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/definition_cache.h"
#include "common/clock.h"
#include "common/store/definition_store.h"

/* A definition without a run is swept after a day; a run inserted later than this after its
 * definition might lose it. */
enum { GIVE_UP_MS = 45000 };

void run_describe(const struct definition *definition, struct run *run)
{
    struct definition_summary summary = definition_summary(definition);
    *run = (struct run){
        .has_pre = summary.has_pre,
        .has_post = summary.has_post,
        .has_stages = {summary.has_pre, summary.student_has_stages, summary.has_post},
        .students = summary.students,
        .priority = summary.priority,
        .max_attempts = summary.max_attempts,
    };
    memcpy(run->timeout_ms, summary.timeout_ms, sizeof run->timeout_ms);
    memcpy(run->all_timeouts, summary.all_timeouts, sizeof run->all_timeouts);
    if (summary.name != NULL)
        snprintf(run->name, sizeof run->name, "%s", summary.name);
    run_id_new(run->id);
}

static enum bw_code store_definition(struct api *api, const struct definition *definition,
                                     const char *run_id, struct bw_error *error)
{
    char *text = definition_text(definition);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    enum bw_code code = BW_OK;
    size_t length = strlen(text);
    if (length > DEFINITION_MAX_BYTES)
        code = bw_fail(error, BW_TOO_LARGE,
                       "the grading run is too large: %zu bytes, and %d can be stored", length,
                       (int)DEFINITION_MAX_BYTES);
    if (code == BW_OK)
        code = definition_store_insert(api->definition_store, run_id, text, length, error);
    free(text);
    return code;
}

enum bw_code run_create(struct api *api, struct definition *definition, struct run *run,
                        struct bw_error *error)
{
    int64_t begun_ms = clock_boot_ms();
    enum bw_code code = store_definition(api, definition, run->id, error);
    if (code != BW_OK)
        return code;
    if (clock_boot_ms() - begun_ms > GIVE_UP_MS)
        return bw_fail(error, BW_UNAVAILABLE,
                       "the grading run could not be stored in time: send it again");
    code = run_store_insert(api->run_store, run, error);
    if (code == BW_CONFLICT) /* a fresh id that is taken: as good as never, and another try gets
                                another one */
        return bw_fail(error, BW_UNAVAILABLE, "the grading run could not be stored: send it again");
    if (code == BW_OK)
        definition_cache_put(api->definitions, run->id, definition);
    return code;
}

enum run_phase run_first_phase(const struct run *run)
{
    return run_phase(&(struct run_facts){.has_pre = run->has_pre,
                                         .has_post = run->has_post,
                                         .students = run->students,
                                         .is_started = true});
}
