#include "api/grading/run_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/job_entry.h"
#include "api/grading/run_status.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "common/domain/run_terms.h"
#include "common/store/run_listing.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    JOBS_MAX = 1000 * 1000, /* jobs of the runs of one page, whose summaries are read */
    SHOWN_SIZE = 80,
    PLACE_SIZE = 20 + 1 + RUN_ID_SIZE
};

/* ---- The place of a run: DATE-ID, the date in milliseconds ---- */

static void run_place_format(int64_t created_ms, const char *id, char place[PLACE_SIZE])
{
    snprintf(place, PLACE_SIZE, "%" PRId64 "-%s", created_ms, id);
}

/* The id in a place, borrowed from it; *date_ms is its date. NULL: the text is no place. */
static const char *run_place_parse(const char *place, int64_t *date_ms)
{
    enum { DATE_DIGITS = 15 };
    size_t digits = strspn(place, "0123456789");
    if (digits == 0 || digits > DATE_DIGITS || place[digits] != '-' ||
        !is_hex_id(place + digits + 1, RUN_ID_LENGTH))
        return NULL;
    *date_ms = strtoll(place, NULL, 10);
    return *date_ms <= LISTING_LAST_MS ? place + digits + 1 : NULL;
}

/* ---- The arguments ---- */

static enum bw_code run_list_check_state(const json_t *value, const char *path, const void *context,
                                         struct bw_error *error)
{
#define RUN_LIST_STATE(name, text) ", " text
    static const char states[] = RUN_PHASE_MAP(RUN_LIST_STATE);
#undef RUN_LIST_STATE
    char shown[SHOWN_SIZE];
    enum run_phase phase;
    (void)context;
    if (run_phase_parse(json_string_value(value), &phase))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of %s", path,
                   text_show(json_string_value(value), shown, sizeof shown), states + 2);
}

static enum bw_code run_list_check_after(const json_t *value, const char *path, const void *context,
                                         struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    int64_t date_ms;
    (void)context;
    if (run_place_parse(json_string_value(value), &date_ms) != NULL)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not the 'next' of a page", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

#define RUN_LIST_FIELDS                                                                    \
    {.name = "state", .kind = FIELD_STRING, .check = run_list_check_state},                \
        {.name = "name", .kind = FIELD_STRING, .minimum = 1, .maximum = RUN_NAME_LONGEST}, \
        {.name = "label", .kind = FIELD_STRING, .check = run_label_check},                 \
        {.name = "after", .kind = FIELD_STRING, .check = run_list_check_after},            \
        {.name = "limit", .kind = FIELD_INTEGER, .minimum = 1, .maximum = LIMIT_MAX},      \
    {                                                                                      \
        .name = NULL                                                                       \
    }

const struct json_field run_list_fields[] = {RUN_LIST_FIELDS};

const struct json_field run_list_course_fields[] = {
    {.name = "assignment", .kind = FIELD_STRING, .minimum = 1, .maximum = WORKER_ID_SIZE - 1},
    RUN_LIST_FIELDS,
};

/* ---- One run ---- */

/* Counts the jobs by their outcomes, as the summary has them. In a run that is over, a job without
 * one never ran. */
static json_t *run_list_progress(const struct run *run)
{
    uint32_t total = run_job_count(run->has_pre, run->students, run->has_post),
             outcomes[OUTCOMES] = {0};
    for (uint32_t slot = 0; slot < total; slot++) {
        struct job_fact fact = {.outcome = OUTCOME_NONE};
        if (slot < run->summary_length)
            fact.outcome = summary_outcome(run->summary[slot]);
        outcomes[run_status_job_outcome(&fact, run->phase)]++;
    }
    json_t *made = json_pack("{s:I,s:I,s:I,s:I}", "total", (json_int_t)total, "succeeded",
                             (json_int_t)outcomes[OUTCOME_SUCCEEDED], "failed",
                             (json_int_t)outcomes[OUTCOME_FAILED], "cancelled",
                             (json_int_t)outcomes[OUTCOME_CANCELLED]);
    if (run->has_keys)
        json_object_set_new(made, "superseded", json_integer(outcomes[OUTCOME_SUPERSEDED]));
    return made;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(object, key, json_string(text));
}

static json_t *run_list_entry(const struct run *run)
{
    json_t *entry = json_pack("{s:s}", "id", run->id);
    set_text(entry, "name", run->name);
    if (run->labels != NULL)
        json_object_set_new(entry, "labels", json_loads(run->labels, 0, NULL));
    if (run->run_class != RUN_CLASS_NORMAL)
        set_text(entry, "class", run_class_name(run->run_class));
    if (run->requires != NULL)
        json_object_set_new(entry, "requires", worker_tags_list(run->requires));
    set_text(entry, "submitter", run->submitter);
    set_text(entry, "course", run->course);
    set_text(entry, "assignment", run->assignment);
    set_text(entry, "state", run_phase_name(run->phase));
    json_object_set_new(entry, "created_at", job_entry_date(run->created_ms));
    json_object_set_new(entry, "started_at", job_entry_date(run->started_ms));
    json_object_set_new(entry, "finished_at", job_entry_date(run->finished_ms));
    json_object_set_new(entry, "progress", run_list_progress(run));
    set_text(entry, "rerun_of", run->rerun_of);
    return entry;
}

/* ---- One page ---- */

struct run_page {
    json_t *runs;
    size_t limit, jobs;
    char last[PLACE_SIZE];
    bool is_full; /* another run follows */
};

/* One run more than the page has says that more follow. */
static bool run_page_take(struct run *run, void *context)
{
    struct run_page *page = context;
    page->is_full = json_array_size(page->runs) == page->limit || page->jobs > JOBS_MAX;
    if (page->is_full)
        return false;
    page->jobs += run->summary_length;
    json_array_append_new(page->runs, run_list_entry(run));
    run_place_format(run->created_ms, run->id, page->last);
    return true;
}

static const char *text_argument(const json_t *arguments, const char *name)
{
    return json_string_value(json_object_get(arguments, name));
}

static enum bw_code run_page_read(struct api *api, const json_t *arguments, const char *course,
                                  const char *assignment, struct run_page *page,
                                  struct bw_error *error)
{
    const char *state = text_argument(arguments, "state"),
               *after = text_argument(arguments, "after");
    enum run_phase phase;
    struct run_listing listing = {.course = course,
                                  .name = text_argument(arguments, "name"),
                                  .label = text_argument(arguments, "label"),
                                  .assignment = assignment,
                                  .each = run_page_take,
                                  .context = page};
    if (assignment == NULL)
        listing.assignment = text_argument(arguments, "assignment");
    if (state != NULL && run_phase_parse(state, &phase))
        listing.state = &phase;
    if (after != NULL)
        listing.before = run_place_parse(after, &listing.before_ms);
    struct run_listing_end end;
    enum bw_code code = run_listing_read(api->database, &listing, page->limit + 1, &end, error);
    if (code == BW_OK && end.is_cut) {
        page->is_full = true;
        run_place_format(end.created_ms, end.id, page->last);
    }
    return code;
}

enum bw_code run_list_send(struct api *api, struct exchange *exchange, const char *course,
                           const char *assignment, const char *before, const char *after,
                           struct bw_error *error)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    const json_t *limit = json_object_get(arguments, "limit");
    struct run_page page = {.runs = json_array(),
                            .limit = limit != NULL ? (size_t)json_integer_value(limit)
                                                   : LIMIT_DEFAULT};
    enum bw_code code = run_page_read(api, arguments, course, assignment, &page, error);
    json_auto_t *list = json_pack("{s:o,s:s*}", "grading_runs", page.runs, "next",
                                  page.is_full ? page.last : NULL);
    if (code == BW_OK)
        answer_stream_send_json(api->answer_streams, exchange, before, list, after);
    return code;
}
