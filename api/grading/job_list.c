#include "api/grading/job_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/job_entry.h"
#include "api/grading/pauses.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"
#include "common/base/text_buffer.h"
#include "common/domain/job.h"
#include "common/store/job_results.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    CHUNK = 512, /* jobs that are looked at in one read */
    SHOWN_SIZE = 80
};

/* ---- The arguments ---- */

static const char *const job_list_states[] = {"Created", "Queued", "Running", "Finished", NULL};
static const char *const job_list_outcomes[] = {"succeeded", "failed", "cancelled", "superseded",
                                                NULL};

static enum bw_code job_list_check_word(const json_t *value, const char *path,
                                        const char *const *words, struct bw_error *error)
{
    struct text_buffer list = {.bytes = NULL};
    char shown[SHOWN_SIZE];
    for (const char *const *word = words; *word != NULL; word++) {
        if (strcmp(json_string_value(value), *word) == 0) {
            text_buffer_clear(&list);
            return BW_OK;
        }
        text_buffer_add_text(&list, word == words ? "" : ", ");
        text_buffer_add_text(&list, *word);
    }
    char *all = text_buffer_take(&list);
    enum bw_code code = bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of %s", path,
                                text_show(json_string_value(value), shown, sizeof shown), all);
    free(all);
    return code;
}

static enum bw_code job_list_check_state(const json_t *value, const char *path, const void *context,
                                         struct bw_error *error)
{
    (void)context;
    return job_list_check_word(value, path, job_list_states, error);
}

enum bw_code job_list_check_outcome(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    (void)context;
    return job_list_check_word(value, path, job_list_outcomes, error);
}

static enum bw_code job_list_check_signature(const json_t *value, const char *path,
                                             const void *context, struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    (void)context;
    if (is_failure_signature(json_string_value(value)))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: '%s' is not the signature of a failure: %d lower-case hex digits", path,
                   text_show(json_string_value(value), shown, sizeof shown), (int)SIGNATURE_LENGTH);
}

const struct json_field job_list_fields[] = {
    {.name = "state", .kind = FIELD_STRING, .check = job_list_check_state},
    {.name = "outcome", .kind = FIELD_STRING, .check = job_list_check_outcome},
    {.name = "signature", .kind = FIELD_STRING, .check = job_list_check_signature},
    {.name = "drift", .kind = FIELD_BOOLEAN},
    {.name = "after", .kind = FIELD_STRING},
    {.name = "limit", .kind = FIELD_INTEGER, .minimum = 1, .maximum = LIMIT_MAX},
    {.name = NULL},
};

struct job_query {
    const char *state, *signature; /* NULL: any; borrowed from the arguments */
    enum job_outcome outcome;      /* OUTCOME_NONE: any */
    bool only_drift;               /* only jobs whose results have drift */
    uint32_t first, limit;         /* the first slot, and the largest number of jobs */
};

/* Reads the place after which the page begins. */
static enum bw_code job_list_read_after(const json_t *value, const struct run *run, uint32_t *first,
                                        struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    *first = 0;
    if (value == NULL)
        return BW_OK;
    if (!run_job_id_slot(run, json_string_value(value), first))
        return bw_fail(error, BW_BAD_REQUEST, "after: the grading run '%s' has no job '%s'",
                       run->id, text_show(json_string_value(value), shown, sizeof shown));
    ++*first;
    return BW_OK;
}

static enum bw_code job_list_read_query(const json_t *arguments, const struct run *run,
                                        struct job_query *query, struct bw_error *error)
{
    const char *outcome = json_string_value(json_object_get(arguments, "outcome"));
    const json_t *limit = json_object_get(arguments, "limit");
    query->state = json_string_value(json_object_get(arguments, "state"));
    query->signature = json_string_value(json_object_get(arguments, "signature"));
    query->only_drift = json_is_true(json_object_get(arguments, "drift"));
    query->outcome = outcome != NULL ? outcome_parse(outcome) : OUTCOME_NONE;
    query->limit = limit != NULL ? (uint32_t)json_integer_value(limit) : LIMIT_DEFAULT;
    return job_list_read_after(json_object_get(arguments, "after"), run, &query->first, error);
}

/* ---- The jobs of the page ---- */

struct job_list {
    struct run run;
    struct definition *definition;
    struct run_facts_found found;
    struct job_view view;
    struct job_entry *entries;
    uint32_t count, written;
    char next[JOB_ID_SIZE]; /* "": no more jobs follow */
    json_t *paused;         /* what is shown of the run's pause; own, or NULL */
    const char *before, *after;
    bool is_begun;
};

/* Some jobs that may be of the page. */
struct job_chunk {
    const struct job_query *query;
    uint32_t slots[CHUNK];
    bool is_wanted[CHUNK];
    uint32_t count;
};

/* Whether only the results say which jobs are wanted. */
static bool job_query_reads_results(const struct job_query *query)
{
    return query->signature != NULL || query->only_drift;
}

static bool job_query_wants_result(const struct job_query *query, const struct result *result)
{
    if (query->signature != NULL && strcmp(result->signature, query->signature) != 0)
        return false;
    return !query->only_drift || result->has_drift;
}

/* Whether the facts alone let the job be of the page. */
static bool job_list_admits(const struct job_list *list, const struct job_query *query,
                            uint32_t slot)
{
    const struct job_fact *fact = &list->view.facts[slot];
    enum job_kind kind;
    uint32_t index;
    run_slot_job(list->run.has_pre, list->run.students, slot, &kind, &index);
    if (query->state != NULL &&
        strcmp(query->state, run_status_job_state(fact, list->view.phase, kind)) != 0)
        return false;
    if (query->outcome != OUTCOME_NONE &&
        query->outcome != run_status_job_outcome(fact, list->view.phase))
        return false;
    return query->signature == NULL || fact->outcome == OUTCOME_FAILED;
}

/* Finds the next jobs from *slot on that the facts admit, and moves *slot behind them. */
static void job_chunk_fill(struct job_chunk *chunk, const struct job_list *list, uint32_t *slot)
{
    chunk->count = 0;
    for (; *slot < list->found.count && chunk->count < CHUNK; ++*slot) {
        if (!job_list_admits(list, chunk->query, *slot))
            continue;
        chunk->is_wanted[chunk->count] = !job_query_reads_results(chunk->query);
        chunk->slots[chunk->count++] = *slot;
    }
}

static void job_chunk_take_result(uint32_t slot, const struct result *result, void *context)
{
    struct job_chunk *chunk = context;
    for (uint32_t i = 0; i < chunk->count; i++)
        if (chunk->slots[i] == slot)
            chunk->is_wanted[i] = job_query_wants_result(chunk->query, result);
}

/* With a signature or drift: reads which of the jobs have it. */
static enum bw_code job_chunk_read(struct job_chunk *chunk, const struct run_facts_sources *sources,
                                   const struct run *run, struct bw_error *error)
{
    const struct job_results results = {
        .store = sources->results, .run = run, .take = job_chunk_take_result, .context = chunk};
    const struct slot_list slots = {chunk->slots, chunk->count};
    return job_query_reads_results(chunk->query) ? job_results_read(&results, &slots, error)
                                                 : BW_OK;
}

/* Adds the wanted jobs. One more than the limit is not added, but says that more follow. */
static void job_list_add(struct job_list *list, const struct job_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->count && list->next[0] == '\0'; i++) {
        if (!chunk->is_wanted[i])
            continue;
        if (list->count == chunk->query->limit)
            run_slot_job_id(&list->run, list->entries[list->count - 1].slot, list->next);
        else
            list->entries[list->count++].slot = chunk->slots[i];
    }
}

static enum bw_code job_list_select(struct job_list *list, const struct job_query *query,
                                    const struct run_facts_sources *sources, struct bw_error *error)
{
    struct job_chunk chunk = {.query = query};
    uint32_t slot = query->first;
    list->entries = bw_alloc_array(query->limit, sizeof *list->entries);
    while (slot < list->found.count && list->next[0] == '\0') {
        job_chunk_fill(&chunk, list, &slot);
        enum bw_code code = job_chunk_read(&chunk, sources, &list->run, error);
        if (code != BW_OK)
            return code;
        job_list_add(list, &chunk);
    }
    return BW_OK;
}

/* Reads all data that the answer needs. */
static enum bw_code job_list_read(struct api *api, const json_t *arguments, struct job_list *list,
                                  struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    struct job_query query;
    enum bw_code code = job_list_read_query(arguments, &list->run, &query, error);
    if (code == BW_OK)
        code = definition_cache_get(api->definitions, list->run.id, &list->definition, error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", list->run.id);
    if (code == BW_OK)
        code = pause_of_run(api, &list->run, &list->paused, error);
    if (code == BW_OK)
        code = run_facts_read(&sources, &list->run, &list->found, error);
    if (code != BW_OK)
        return code;
    list->view = (struct job_view){.run = &list->run,
                                   .definition = list->definition,
                                   .facts = list->found.jobs,
                                   .phase = run_status_phase(&list->run, list->found.jobs)};
    code = job_list_select(list, &query, &sources, error);
    if (code == BW_OK)
        code = job_entries_read(&sources, &list->view, list->entries, list->count, error);
    return code;
}

/* ---- The answer ---- */

static void job_list_write_end(const struct job_list *list, struct text_buffer *part)
{
    text_buffer_add_text(part, "]");
    if (list->next[0] != '\0') {
        text_buffer_add_text(part, ",\"next\":\"");
        text_buffer_add_text(part, list->next);
        text_buffer_add_text(part, "\"");
    }
    run_status_write_pause(list->paused, part);
    text_buffer_add_text(part, "}");
    text_buffer_add_text(part, list->after);
}

static enum bw_code job_list_produce(void *context, struct text_buffer *part, bool *is_last,
                                     struct bw_error *error)
{
    struct job_list *list = context;
    (void)error;
    if (!list->is_begun) {
        text_buffer_add_text(part, list->before);
        text_buffer_add_text(part, "{\"jobs\":[");
        list->is_begun = true;
    }
    *is_last = list->written == list->count;
    if (*is_last) {
        job_list_write_end(list, part);
        return BW_OK;
    }
    text_buffer_add_text(part, list->written == 0 ? "" : ",");
    text_buffer_add_new(part, job_entry_make(&list->view, &list->entries[list->written++]));
    return BW_OK;
}

static void job_list_release(void *context)
{
    struct job_list *list = context;
    free(list->entries);
    json_decref(list->paused);
    run_facts_clear(&list->found);
    definition_release(list->definition);
    run_clear(&list->run);
    free(list);
}

static size_t job_list_held(const void *context)
{
    const struct job_list *list = context;
    return list->found.count * sizeof *list->found.jobs + list->count * sizeof *list->entries;
}

enum bw_code job_list_send(struct api *api, struct exchange *exchange, const struct run *run,
                           const char *before, const char *after, struct bw_error *error)
{
    struct job_list *list = bw_alloc(sizeof *list);
    list->run = *run;
    list->before = before;
    list->after = after;
    enum bw_code code = job_list_read(api, exchange_request(exchange)->arguments, list, error);
    if (code != BW_OK) {
        job_list_release(list);
        return code;
    }
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = job_list_produce,
                                               .release = job_list_release,
                                               .held = job_list_held,
                                               .context = list});
    return BW_OK;
}
