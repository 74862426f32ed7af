#include "api/grading/run_results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/rerun_family.h"
#include "api/grading/result_formats.h"
#include "api/grading/result_pages.h"
#include "api/grading/result_rows.h"
#include "api/http/answer_stream.h"
#include "api/http/etag.h"
#include "api/http/exchange.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/base/secret.h"
#include "version.h"

/* ---- The arguments ---- */

static enum bw_code run_results_check_format(const json_t *value, const char *path,
                                             const void *context, struct bw_error *error)
{
    char shown[80];
    (void)context;
    for (int format = 0; format < RESULT_FORMATS; format++)
        if (strcmp(json_string_value(value), result_format_name((enum result_format)format)) == 0)
            return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of json, ndjson, csv", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

static enum bw_code run_results_check_merge(const json_t *value, const char *path,
                                            const void *context, struct bw_error *error)
{
    char shown[80];
    (void)context;
    if (strcmp(json_string_value(value), "reruns") == 0)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' can't be merged: the only value is 'reruns'",
                   path, text_show(json_string_value(value), shown, sizeof shown));
}

const struct json_field run_results_fields[] = {
    {.name = "format", .kind = FIELD_STRING, .check = run_results_check_format},
    {.name = "merge", .kind = FIELD_STRING, .check = run_results_check_merge},
    {.name = NULL},
};

static enum result_format run_results_format(const json_t *arguments)
{
    const char *name = json_string_value(json_object_get(arguments, "format"));
    enum result_format format = RESULT_JSON;
    while (name != NULL && strcmp(name, result_format_name(format)) != 0)
        format++;
    return format;
}

/* ---- The answer ---- */

struct run_results {
    struct api *api;
    enum result_format format;
    bool merges_reruns;
    const char *before, *after;
    char *begin;               /* JSON: the members before the list; own */
    struct run_entry *entries; /* the runs of a course; own; NULL: one run, which is open already */
    size_t entry_count, next, next_columns;
    json_t *columns; /* CSV: own */
    bool is_begun, has_rows;
    /* the run that is being written: */
    struct rerun_family family; /* without members: none is open */
    struct definition *definition;
    struct result_rows *rows;
};

static void run_results_close_run(struct run_results *results)
{
    result_rows_free(results->rows);
    results->rows = NULL;
    definition_release(results->definition);
    results->definition = NULL;
    rerun_family_clear(&results->family);
}

static void run_results_release(void *context)
{
    struct run_results *results = context;
    run_results_close_run(results);
    json_decref(results->columns);
    free(results->entries);
    free(results->begin);
    free(results);
}

/* Reads what belongs to a run, which is taken. After a failure the caller closes the run. */
static enum bw_code run_results_open_run(struct run_results *results, const struct run *run,
                                         struct bw_error *error)
{
    struct api *api = results->api;
    rerun_family_begin(&results->family, run);
    enum bw_code code = definition_cache_get(api->definitions, run->id, &results->definition,
                                             error);
    if (code == BW_OK && results->merges_reruns)
        code = rerun_family_read(&results->family, api, error);
    if (code == BW_OK)
        results->rows = result_rows_new(api, &results->family, results->format != RESULT_CSV);
    return code;
}

/* Opens the next run of the course. One that is being removed is left out. */
static enum bw_code run_results_open_next(struct run_results *results, struct bw_error *error)
{
    struct run run;
    const char *id = results->entries[results->next++].id;
    enum bw_code code = run_store_read(results->api->run_store, id, &run, error);
    if (code == BW_OK)
        code = run_results_open_run(results, &run, error);
    if (code != BW_OK)
        run_results_close_run(results);
    return code == BW_NOT_FOUND ? BW_OK : code;
}

/* Adds the columns of the next run of the course. */
static enum bw_code run_results_add_columns(struct run_results *results, struct bw_error *error)
{
    struct definition *definition;
    const char *id = results->entries[results->next_columns++].id;
    enum bw_code code = definition_cache_get(results->api->definitions, id, &definition, error);
    if (code != BW_OK)
        return code == BW_NOT_FOUND ? BW_OK : code;
    code = result_columns_add(results->columns, definition_students(definition), error);
    definition_release(definition);
    return code;
}

static void run_results_write_begin(struct run_results *results, struct text_buffer *part)
{
    results->is_begun = true;
    if (results->format == RESULT_CSV)
        result_columns_write(results->columns, part);
    if (results->format != RESULT_JSON)
        return;
    text_buffer_add_text(part, results->before);
    text_buffer_add_text(part, results->begin);
    text_buffer_add_text(part, "\"results\":[");
}

static void run_results_write_end(const struct run_results *results, struct text_buffer *part)
{
    if (results->format != RESULT_JSON)
        return;
    text_buffer_add_text(part, "]}");
    text_buffer_add_text(part, results->after);
}

/* Writes the next page of the open run, or closes it. */
static enum bw_code run_results_write_page(struct run_results *results, struct text_buffer *part,
                                           struct bw_error *error)
{
    const struct result_row *page;
    uint32_t count;
    enum bw_code code = result_rows_read(results->rows, &page, &count, error);
    if (code != BW_OK)
        return code;
    for (uint32_t i = 0; i < count; i++) {
        if (results->has_rows && results->format == RESULT_JSON)
            text_buffer_add_text(part, ",");
        results->has_rows = true;
        result_row_write(results->format, &page[i],
                         definition_student(results->definition, page[i].student), results->columns,
                         part);
    }
    if (count == 0)
        run_results_close_run(results);
    return BW_OK;
}

static enum bw_code run_results_produce(void *context, struct text_buffer *part, bool *is_last,
                                        struct bw_error *error)
{
    struct run_results *results = context;
    *is_last = false;
    if (!results->is_begun && results->columns != NULL &&
        results->next_columns < results->entry_count)
        return run_results_add_columns(results, error);
    if (!results->is_begun)
        run_results_write_begin(results, part);
    else if (results->rows != NULL)
        return run_results_write_page(results, part, error);
    else if (results->next < results->entry_count)
        return run_results_open_next(results, error);
    else
        *is_last = true;
    if (*is_last)
        run_results_write_end(results, part);
    return BW_OK;
}

static size_t run_results_held(const void *context)
{
    const struct run_results *results = context;
    size_t rows = results->rows != NULL ? result_rows_held(results->rows) : 0;
    return rows + rerun_family_held(&results->family) +
           results->entry_count * sizeof *results->entries;
}

static size_t run_results_needed(const void *context)
{
    const struct run_results *results = context;
    return results->format == RESULT_CSV
               ? 0
               : result_pages_need((size_t)results->api->options->max_result_bytes);
}

static struct run_results *run_results_new(struct api *api, const struct exchange *exchange,
                                           const char *before, const char *after)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    struct run_results *results = bw_alloc(sizeof *results);
    results->api = api;
    results->format = run_results_format(arguments);
    results->merges_reruns = json_object_get(arguments, "merge") != NULL;
    results->before = before;
    results->after = after;
    results->columns = results->format == RESULT_CSV ? json_object() : NULL;
    return results;
}

/* Sends the answer. `name`: of the file in which a client keeps it. */
static void run_results_answer(struct run_results *results, struct exchange *exchange,
                               const char *name)
{
    char disposition[EXCHANGE_HEADER_SIZE];
    snprintf(disposition, sizeof disposition, "attachment; filename=\"results-%s.%s\"", name,
             result_format_name(results->format));
    if (results->format != RESULT_JSON)
        exchange_add_header(exchange, "Content-Disposition", disposition);
    answer_stream_send(results->api->answer_streams, exchange,
                       &(struct answer_source){.produce = run_results_produce,
                                               .release = run_results_release,
                                               .held = run_results_held,
                                               .needed = run_results_needed,
                                               .context = results,
                                               .is_prompt = true,
                                               .type = result_format_type(results->format)});
}

/* ---- One run ---- */

/* Whether nothing in the rows of the run's own jobs can change any more. */
static bool run_is_final(const struct run *run)
{
    uint32_t first = run->has_pre ? 1 : 0;
    if (!run_phase_is_over(run->phase) || run->finished_ms == 0 ||
        run->summary_length < first + run->students)
        return false;
    for (uint32_t i = 0; i < run->students; i++) {
        enum job_outcome outcome = summary_outcome(run->summary[first + i]);
        if (outcome == OUTCOME_NONE || outcome == OUTCOME_SUPERSEDED)
            return false;
    }
    return true;
}

static void tag_add_run(const struct run *run, struct text_buffer *facts)
{
    char text[128];
    snprintf(text, sizeof text, "%s %s %lld %u %d\n", run->id, run_phase_name(run->phase),
             (long long)run->finished_ms, (unsigned)run->rerun_count, (int)run->has_drift);
    text_buffer_add_text(facts, text);
}

/* To be raised with each change of what rows look like: a revision may be unknown. */
#define ROWS_FORM "1"

/* Writes the ETag. False: there is none, since the answer may still change. */
static bool run_results_tag(const struct run_results *results, char etag[EXCHANGE_HEADER_SIZE])
{
    struct text_buffer facts = {.bytes = NULL};
    char digest[SHA256_TEXT_SIZE];
    for (uint32_t i = 0; i < results->family.count; i++)
        if (!run_is_final(&results->family.members[i].run))
            return false;
    text_buffer_add_text(&facts, BROADWAY_VERSION " " BROADWAY_REVISION " " ROWS_FORM " ");
    text_buffer_add_text(&facts, result_format_name(results->format));
    text_buffer_add_text(&facts, results->merges_reruns ? " with reruns\n" : "\n");
    for (uint32_t i = 0; i < results->family.count; i++)
        tag_add_run(&results->family.members[i].run, &facts);
    secret_digest(&(struct digest_part){facts.bytes, facts.length}, 1, digest);
    text_buffer_clear(&facts);
    snprintf(etag, EXCHANGE_HEADER_SIZE, "\"%.32s\"", digest);
    return true;
}

enum bw_code run_results_send(struct api *api, struct exchange *exchange, const struct run *run,
                              const char *before, const char *after, struct bw_error *error)
{
    char etag[EXCHANGE_HEADER_SIZE];
    char id[RUN_ID_SIZE];
    struct run_results *results = run_results_new(api, exchange, before, after);
    memcpy(id, run->id, sizeof id);
    results->begin = bw_format("{\"grading_run_id\":\"%s\",", id);
    enum bw_code code = run_results_open_run(results, run, error);
    if (code == BW_NOT_FOUND)
        code = bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", id);
    if (code == BW_OK && results->columns != NULL)
        code = result_columns_add(results->columns, definition_students(results->definition),
                                  error);
    if (code != BW_OK) {
        run_results_release(results);
        return code;
    }
    if (run_results_tag(results, etag) && etag_answer(exchange, etag)) {
        run_results_release(results);
        return BW_OK;
    }
    run_results_answer(results, exchange, id);
    return BW_OK;
}

/* ---- All runs of a course ---- */

static int run_entry_compare_ids(const void *left, const void *right)
{
    return strcmp(((const struct run_entry *)left)->id, ((const struct run_entry *)right)->id);
}

static int run_entry_compare_dates(const void *left, const void *right)
{
    const struct run_entry *a = left, *b = right;
    return a->created_ms != b->created_ms
               ? (a->created_ms > b->created_ms) - (a->created_ms < b->created_ms)
               : strcmp(a->id, b->id);
}

static void run_results_sort(struct run_results *results,
                             int (*compare)(const void *left, const void *right))
{
    if (results->entry_count > 0)
        qsort(results->entries, results->entry_count, sizeof *results->entries, compare);
}

/* Removes the reruns whose earlier run is listed, too. The entries are sorted by id. */
static void run_results_drop_reruns(struct run_results *results)
{
    struct run_entry key = {.created_ms = 0},
                     *kept = bw_alloc_array(results->entry_count, sizeof *kept);
    size_t count = 0;
    for (size_t i = 0; i < results->entry_count; i++) {
        memcpy(key.id, results->entries[i].rerun_of, sizeof key.id);
        if (key.id[0] == '\0' || bsearch(&key, results->entries, results->entry_count, sizeof key,
                                         run_entry_compare_ids) == NULL)
            kept[count++] = results->entries[i];
    }
    free(results->entries);
    results->entries = kept;
    results->entry_count = count;
}

static char *run_results_course_begin(const char *course, const char *assignment)
{
    return assignment != NULL
               ? bw_format("{\"course\":\"%s\",\"assignment\":\"%s\",", course, assignment)
               : bw_format("{\"course\":\"%s\",", course);
}

enum bw_code run_results_send_course(struct api *api, struct exchange *exchange, const char *course,
                                     const char *assignment, const char *before, const char *after,
                                     struct bw_error *error)
{
    char name[2 * WORKER_ID_SIZE];
    struct run_results *results = run_results_new(api, exchange, before, after);
    enum bw_code code = run_store_read_course(api->run_store, course, assignment, &results->entries,
                                              &results->entry_count, error);
    if (code != BW_OK) {
        run_results_release(results);
        return code;
    }
    run_results_sort(results, run_entry_compare_ids);
    if (results->merges_reruns)
        run_results_drop_reruns(results);
    run_results_sort(results, run_entry_compare_dates);
    results->begin = run_results_course_begin(course, assignment);
    snprintf(name, sizeof name, "%.16s%s%.16s", course, assignment != NULL ? "-" : "",
             assignment != NULL ? assignment : "");
    run_results_answer(results, exchange, name);
    return BW_OK;
}
