#include "api/grading/status_answer.h"

#include <stdlib.h>

#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/job_list.h"
#include "api/grading/missing_graders.h"
#include "api/grading/pauses.h"
#include "api/grading/result_pages.h"
#include "api/grading/run_facts.h"
#include "api/grading/run_status.h"
#include "api/grading/student_filter.h"
#include "api/http/exchange.h"
#include "api/options.h"
#include "common/base/alloc.h"

/* ---- The arguments ---- */

const struct json_field status_answer_fields[] = {
    {.name = "results", .kind = FIELD_BOOLEAN},
    {.name = "students", .kind = FIELD_BOOLEAN},
    {.name = "outcome", .kind = FIELD_STRING, .check = job_list_check_outcome},
    {.name = "student", .kind = FIELD_STRING, .check = student_filter_check},
    {.name = "offset", .kind = FIELD_INTEGER, .minimum = 0, .maximum = JOB_MAX_INDEX},
    {.name = "limit", .kind = FIELD_INTEGER, .minimum = 0, .maximum = JOB_MAX_INDEX},
    {.name = NULL},
};

static uint32_t number_argument(const json_t *arguments, const char *name, uint32_t otherwise)
{
    const json_t *value = json_object_get(arguments, name);
    return value == NULL ? otherwise : (uint32_t)json_integer_value(value);
}

/* The student is borrowed from the arguments. */
static struct run_view status_answer_read_view(const json_t *arguments)
{
    const char *outcome = json_string_value(json_object_get(arguments, "outcome"));
    return (struct run_view){
        .with_students = !json_is_false(json_object_get(arguments, "students")),
        .with_results = json_is_true(json_object_get(arguments, "results")),
        .outcome = outcome != NULL ? outcome_parse(outcome) : OUTCOME_NONE,
        .student = json_string_value(json_object_get(arguments, "student")),
        .offset = number_argument(arguments, "offset", 0),
        .limit = number_argument(arguments, "limit", UINT32_MAX),
    };
}

/* ---- The answer ---- */

/* The data that the answer is made of. */
struct status_answer {
    const char *before, *after;
    struct run run;
    char *student; /* the filter of the view; own, or NULL */
    struct definition *definition;
    struct run_facts_found found;
    struct result_pages *texts;
    struct run_status status;
    char waiting_for[WAITING_SIZE];
    json_t *paused; /* own, or NULL */
    size_t max_result_bytes;
};

/* Adds the result of the job in `slot`. Results of the following students are read in the same
 * page, unless only some students are shown. */
static enum bw_code add_result(void *context, uint32_t slot, struct text_buffer *text,
                               struct bw_error *error)
{
    struct status_answer *answer = context;
    const struct run_status *status = &answer->status;
    bool is_alone = status->next >= status->end || run_view_is_filtered(&status->view);
    uint32_t end = is_alone ? slot + 1 : status->end, left = status->view.limit - status->shown;
    if (!is_alone && left < end - slot - 1)
        end = slot + 1 + left;
    return result_pages_add(answer->texts, slot, end, text, error);
}

static enum bw_code produce(void *context, struct text_buffer *part, bool *is_last,
                            struct bw_error *error)
{
    struct status_answer *answer = context;
    if (!answer->status.is_begun)
        text_buffer_add_text(part, answer->before);
    enum bw_code code = run_status_write(&answer->status, part, is_last, error);
    if (*is_last)
        text_buffer_add_text(part, answer->after);
    return code;
}

static void status_answer_release(void *context)
{
    struct status_answer *answer = context;
    result_pages_free(answer->texts);
    run_facts_clear(&answer->found);
    definition_release(answer->definition);
    run_clear(&answer->run);
    json_decref(answer->paused);
    free(answer->student);
    free(answer);
}

static size_t status_answer_held(const void *context)
{
    const struct status_answer *answer = context;
    return answer->found.count * sizeof *answer->found.jobs + result_pages_held(answer->texts);
}

static size_t status_answer_needed(const void *context)
{
    const struct status_answer *answer = context;
    return answer->status.view.with_results ? result_pages_need(answer->max_result_bytes) : 0;
}

/* Reads the definition, if students are shown. */
static enum bw_code status_answer_read_definition(struct api *api, struct status_answer *answer,
                                                  struct bw_error *error)
{
    if (!answer->status.view.with_students)
        return BW_OK;
    enum bw_code code = definition_cache_get(api->definitions, answer->run.id, &answer->definition,
                                             error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", answer->run.id);
    return code;
}

/* Reads all that the answer needs but the results. */
static enum bw_code status_answer_read(struct api *api, struct status_answer *answer,
                                       struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    enum bw_code code = status_answer_read_definition(api, answer, error);
    if (code == BW_OK)
        code = pause_of_run(api, &answer->run, &answer->paused, error);
    if (code == BW_OK)
        code = run_facts_read(&sources, &answer->run, &answer->found, error);
    if (code != BW_OK)
        return code;
    answer->texts = result_pages_new(api->result_store, &answer->run, answer->found.jobs);
    answer->status.definition = answer->definition;
    answer->status.facts = answer->found.jobs;
    answer->status.last_result_ms = answer->found.last_result_ms;
    answer->status.paused = answer->paused;
    answer->status.waiting_for = missing_graders_waiting(api->graders, &answer->run, &answer->found,
                                                         0, answer->waiting_for);
    return BW_OK;
}

static struct status_answer *status_answer_new(struct api *api, const struct exchange *exchange,
                                               const struct run *run)
{
    struct status_answer *answer = bw_alloc(sizeof *answer);
    answer->run = *run;
    answer->max_result_bytes = (size_t)api->options->max_result_bytes;
    answer->status = (struct run_status){
        .run = &answer->run,
        .view = status_answer_read_view(exchange_request(exchange)->arguments),
        .result = add_result,
        .context = answer};
    if (answer->status.view.student != NULL)
        answer->status.view.student = answer->student = bw_copy(answer->status.view.student);
    return answer;
}

enum bw_code status_answer_send(struct api *api, struct exchange *exchange, const struct run *run,
                                const char *before, const char *after, struct bw_error *error)
{
    struct status_answer *answer = status_answer_new(api, exchange, run);
    answer->before = before;
    answer->after = after;
    enum bw_code code = status_answer_read(api, answer, error);
    if (code != BW_OK) {
        status_answer_release(answer);
        return code;
    }
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = produce,
                                               .release = status_answer_release,
                                               .held = status_answer_held,
                                               .needed = status_answer_needed,
                                               .context = answer});
    return BW_OK;
}
