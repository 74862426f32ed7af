#include "api/grading/history_answer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"
#include "common/base/date.h"
#include "common/store/history_store.h"

enum {
    HISTORY_POINTS_MAX = 1440,
    HISTORY_POINTS_DEFAULT = 400, /* at most, if the request has no step */
    HISTORY_ROWS_MAX = 20000,     /* courses of all points */
    HISTORY_HOUR_MS = 3600 * 1000,
    HISTORY_LONGEST_MS = 24 * HISTORY_HOUR_MS,
    HISTORY_STEP_MAX = 24 * 3600
};

/* ---- The arguments ---- */

static enum bw_code history_check_step(const json_t *value, const char *path, const void *context,
                                       struct bw_error *error)
{
    (void)context;
    if (json_integer_value(value) % (HISTORY_STEP_MS / 1000) == 0)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be a multiple of %d seconds, not %lld", path,
                   HISTORY_STEP_MS / 1000, (long long)json_integer_value(value));
}

#define HISTORY_FIELDS                                                  \
    {.name = "from", .kind = FIELD_STRING, .check = json_check_date},   \
        {.name = "to", .kind = FIELD_STRING, .check = json_check_date}, \
        {.name = "step",                                                \
         .kind = FIELD_INTEGER,                                         \
         .minimum = HISTORY_STEP_MS / 1000,                             \
         .maximum = HISTORY_STEP_MAX,                                   \
         .check = history_check_step},                                  \
    {                                                                   \
        .name = NULL                                                    \
    }

const struct json_field history_fields[] = {
    {.name = "course", .kind = FIELD_STRING, .minimum = 1, .maximum = WORKER_ID_SIZE - 1},
    HISTORY_FIELDS,
};

const struct json_field history_course_fields[] = {HISTORY_FIELDS};

/* What is asked for. A point stands for the samples of the step that ends at its date. */
struct history_request {
    const char *course;              /* only its load; NULL: of all */
    bool is_of_course;               /* by its token */
    int64_t from_ms, to_ms, step_ms; /* the first and the last point; multiples of the step */
};

/* The least step, in milliseconds, with which that time has at most `points` points. */
static int64_t history_least_step(int64_t time_ms, int64_t points)
{
    int64_t samples = time_ms / HISTORY_STEP_MS + 1;
    return (samples + points - 1) / points * HISTORY_STEP_MS;
}

/* The end of the step in which the date lies. */
static int64_t history_end_of_step(int64_t date_ms, int64_t step_ms)
{
    return (date_ms + step_ms - 1) / step_ms * step_ms;
}

static enum bw_code history_request_read(struct history_request *request, const json_t *arguments,
                                         int64_t now_ms, struct bw_error *error)
{
    const json_t *step = json_object_get(arguments, "step");
    int64_t to_ms = json_date(arguments, "to", now_ms);
    int64_t from_ms = json_date(arguments, "from", to_ms - HISTORY_HOUR_MS);
    if (json_object_get(arguments, "to") == NULL && json_object_get(arguments, "from") != NULL &&
        from_ms <= now_ms && now_ms - from_ms > HISTORY_LONGEST_MS)
        to_ms = from_ms + HISTORY_LONGEST_MS;
    if (from_ms > to_ms)
        return bw_fail(error, BW_BAD_REQUEST, "from: must not be later than 'to'");
    if (to_ms - from_ms > HISTORY_LONGEST_MS)
        return bw_fail(error, BW_BAD_REQUEST,
                       "from: must be at most 24 hours before 'to': ask for each day by itself");
    int64_t least_ms = history_least_step(to_ms - from_ms, HISTORY_POINTS_MAX);
    request->step_ms = step != NULL ? json_integer_value(step) * 1000
                                    : history_least_step(to_ms - from_ms, HISTORY_POINTS_DEFAULT);
    if (request->step_ms < least_ms)
        return bw_fail(error, BW_BAD_REQUEST,
                       "step: %" PRId64 " s would make more than %d points: use %" PRId64
                       " s at least, or ask for a shorter time",
                       request->step_ms / 1000, HISTORY_POINTS_MAX, least_ms / 1000);
    request->from_ms = history_end_of_step(from_ms, request->step_ms);
    request->to_ms = history_end_of_step(to_ms, request->step_ms);
    return BW_OK;
}

/* ---- Points ---- */

static json_t *history_seconds(int64_t ms)
{
    return json_real((double)ms / 1000);
}

static json_t *history_load_json(const struct history_load *load)
{
    json_t *results = json_object();
    for (unsigned i = OUTCOME_SUCCEEDED; i < OUTCOMES; i++)
        json_object_set_new(results, outcome_name((enum job_outcome)i),
                            json_integer((json_int_t)load->results[i]));
    return json_pack("{s:I,s:I,s:o,s:I,s:o}", "queued", (json_int_t)load->queued, "running",
                     (json_int_t)load->running, "oldest", history_seconds(load->oldest_ms),
                     "handed_out", (json_int_t)load->handed_out, "results", results);
}

static json_t *history_course_json(const struct history_course *course)
{
    json_t *entry = history_load_json(&course->load);
    json_object_set_new(entry, "protocol", json_string(protocol_title(course->protocol)));
    if (course->name[0] != '\0')
        json_object_set_new(entry, "course", json_string(course->name));
    return entry;
}

static bool history_admits(const struct history_request *request,
                           const struct history_course *course)
{
    bool has_courses = protocol_properties(course->protocol)->has_courses;
    return request->course == NULL || (has_courses && strcmp(request->course, course->name) == 0);
}

static json_t *history_waits_json(const struct duration_buckets *waits)
{
    uint64_t jobs = duration_buckets_count(waits);
    json_t *entry = json_pack("{s:I}", "jobs", (json_int_t)jobs);
    if (jobs > 0) {
        json_object_set_new(entry, "p50", history_seconds(duration_buckets_quantile(waits, 0.5)));
        json_object_set_new(entry, "p95", history_seconds(duration_buckets_quantile(waits, 0.95)));
    }
    return entry;
}

/* Appends the point of this date; *rows counts the courses of all points. */
static void history_append_point(const struct history_request *request, int64_t date_ms,
                                 const struct history_sample *sample, json_t *points, size_t *rows)
{
    char date[DATE_TEXT_SIZE];
    const struct history_graders *graders = &sample->graders;
    json_t *courses = json_array();
    for (size_t i = 0; i < sample->count; i++)
        if (history_admits(request, &sample->courses[i]))
            json_array_append_new(courses, history_course_json(&sample->courses[i]));
    *rows += json_array_size(courses);
    json_t *point = json_pack("{s:s,s:{s:i,s:i,s:i,s:i},s:o}", "date", date_format(date_ms, date),
                              "graders", "working", (int)graders->working, "idle",
                              (int)graders->idle, "paused", (int)graders->paused, "faulty",
                              (int)graders->faulty, "courses", courses);
    if (!request->is_of_course)
        json_object_set_new(point, "waits", history_waits_json(&sample->waits));
    if (request->course == NULL && sample->other_courses > 0) {
        json_t *others = history_load_json(&sample->others);
        json_object_set_new(others, "courses", json_integer((json_int_t)sample->other_courses));
        json_object_set_new(point, "others", others);
    }
    json_array_append_new(points, point);
}

/* The points while they are made: `point` merges the samples of the step that ends at `date_ms`. */
struct history_points {
    const struct history_request *request;
    int64_t date_ms;
    struct history_sample point; /* at_ms 0: no sample yet */
    json_t *list;
    size_t rows;
};

/* The step is complete. */
static void history_points_end(struct history_points *points)
{
    if (points->point.at_ms != 0)
        history_append_point(points->request, points->date_ms, &points->point, points->list,
                             &points->rows);
    history_sample_clear(&points->point);
    points->date_ms += points->request->step_ms;
}

/* Takes over the samples of consecutive steps, of which the first has the date `from_ms`. */
static void history_points_take(struct history_points *points, struct history_sample *samples,
                                size_t count, int64_t from_ms)
{
    for (size_t i = 0; i < count; i++) {
        int64_t at_ms = from_ms + (int64_t)i * HISTORY_STEP_MS;
        if (samples[i].at_ms != 0)
            history_sample_merge(&points->point, &samples[i]);
        history_sample_clear(&samples[i]);
        if (at_ms == points->date_ms)
            history_points_end(points);
    }
}

static enum bw_code history_points_read(struct api *api, struct history_points *points,
                                        struct bw_error *error)
{
    const struct history_request *request = points->request;
    struct history_sample *samples = bw_alloc_array(HISTORY_READ_MAX, sizeof *samples);
    int64_t from_ms = request->from_ms - request->step_ms + HISTORY_STEP_MS;
    enum bw_code code = BW_OK;
    while (code == BW_OK && from_ms <= request->to_ms) {
        size_t count = (size_t)((request->to_ms - from_ms) / HISTORY_STEP_MS) + 1;
        count = count > HISTORY_READ_MAX ? HISTORY_READ_MAX : count;
        code = history_store_read(api->history_store, from_ms, count, samples, error);
        history_points_take(points, samples, count, from_ms);
        from_ms += (int64_t)count * HISTORY_STEP_MS;
        if (code == BW_OK && points->rows > HISTORY_ROWS_MAX)
            code = bw_fail(error, BW_BAD_REQUEST,
                           "step: the answer would list more than %d loads of courses: use a "
                           "longer step, or ask for a shorter time or one course",
                           HISTORY_ROWS_MAX);
    }
    history_sample_clear(&points->point);
    free(samples);
    return code;
}

enum bw_code history_answer_read(struct api *api, struct exchange *exchange, const char *course,
                                 json_t **answer, struct bw_error *error)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    struct history_request request = {
        .course = course != NULL ? course : json_string_value(json_object_get(arguments, "course")),
        .is_of_course = course != NULL};
    enum bw_code code = history_request_read(&request, arguments,
                                             history_store_now_ms(api->history_store), error);
    if (code != BW_OK)
        return code;
    struct history_points points = {
        .request = &request, .date_ms = request.from_ms, .list = json_array()};
    code = history_points_read(api, &points, error);
    if (code != BW_OK) {
        json_decref(points.list);
        return code;
    }
    char from[DATE_TEXT_SIZE], to[DATE_TEXT_SIZE];
    *answer = json_pack("{s:s,s:s,s:I,s:o}", "from", date_format(request.from_ms, from), "to",
                        date_format(request.to_ms, to), "step",
                        (json_int_t)(request.step_ms / 1000), "points", points.list);
    return BW_OK;
}
