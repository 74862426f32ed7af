#include "api/grading/scheduling_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/course_table.h"
#include "api/grading/job_entry.h"
#include "api/grading/pauses.h"
#include "api/http/exchange.h"
#include "api/uplink/scheduler_queries.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/store/scheduling_store.h"

static enum bw_code check_courses(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error);

const struct json_field share_fields[] = {
    {.name = "weight", .kind = FIELD_INTEGER, .minimum = 1, .maximum = COURSE_WEIGHT_MAX},
    {.name = "max_running", .kind = FIELD_INTEGER, .maximum = COURSE_MAX_RUNNING_MAX},
    {.name = NULL},
};

const struct json_field reservation_fields[] = {
    {.name = "tags", .kind = FIELD_ANY, .is_required = true, .check = run_requires_check},
    {.name = "courses", .kind = FIELD_ANY, .check = check_courses},
    {.name = "classes", .kind = FIELD_ANY, .check = run_classes_check},
    PAUSE_NOTE_FIELD,
    PAUSE_TIMEOUT_FIELD,
    {.name = NULL},
};

/* ---- Checks ---- */

/* A list of names, or null for any course. Whether there are such courses is asked later. */
static enum bw_code check_courses(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error)
{
    size_t index, size = json_array_size(value);
    json_t *name;
    (void)context;
    if (json_is_null(value))
        return BW_OK;
    enum bw_code code = json_check_list(value, path, error);
    if (code == BW_OK && (size == 0 || size > RESERVATION_COURSES_MAX))
        code = bw_fail(error, BW_BAD_REQUEST, "%s: must have 1 to %d courses, not %zu", path,
                       (int)RESERVATION_COURSES_MAX, size);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, name)
        if (!json_is_string(name))
            return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: must be a string, not %s", path, index,
                           json_kind_of(name));
    return BW_OK;
}

/* `path`: where the name is, for the sentence. */
static enum bw_code scheduling_check_course(struct api *api, const char *path, const char *course,
                                            struct bw_error *error)
{
    struct bw_error reason;
    enum bw_code code = course_table_find(api->courses, course, NULL, &reason);
    if (code == BW_OK)
        return BW_OK;
    return bw_fail(error, code == BW_NOT_FOUND ? BW_BAD_REQUEST : code, "%s%s", path,
                   reason.message);
}

/* ---- What is shown ---- */

/* `share` NULL: nothing is stated of the course. */
static json_t *share_json(struct api *api, const char *course, const struct course_share *share)
{
    static const struct course_share unstated = {.weight = 0};
    struct bw_error unused;
    unsigned classes = 0;
    if (course_table_find(api->courses, course, &classes, &unused) != BW_OK)
        classes = 0; /* the course is gone, or known at another replica alone */
    if (share == NULL)
        share = &unstated;
    json_int_t weight = share->weight != 0 ? share->weight : COURSE_WEIGHT_DEFAULT;
    return json_pack("{s:s,s:I,s:I,s:o,s:o,s:o}", "course", course, "weight", weight, "max_running",
                     (json_int_t)share->max_running, "classes", run_classes_list(classes), "by",
                     share->by[0] != '\0' ? json_string(share->by) : json_null(), "at",
                     job_entry_date(share->at_ms));
}

static json_t *reservation_json(const struct reservation *reservation)
{
    json_t *courses = reservation->courses != NULL ? json_array() : json_null();
    for (size_t i = 0; i < reservation->course_count; i++)
        json_array_append_new(courses, json_string(reservation->courses[i]));
    return json_pack("{s:s,s:o,s:o,s:o,s:s,s:s,s:o,s:o}", "name", reservation->name, "tags",
                     worker_tags_list(reservation->tags), "courses", courses, "classes",
                     run_classes_list(reservation->classes), "by", reservation->by, "note",
                     reservation->note, "at", job_entry_date(reservation->at_ms), "until",
                     job_entry_date(reservation->until_ms));
}

/* NULL: nothing is stated of the course. */
static const struct course_share *scheduling_find_share(const struct scheduling *scheduling,
                                                        const char *course)
{
    for (size_t i = 0; i < scheduling->share_count; i++)
        if (strcmp(scheduling->shares[i].course, course) == 0)
            return &scheduling->shares[i];
    return NULL;
}

enum bw_code scheduling_settings_read_share(struct api *api, const char *course, json_t **answer,
                                            struct bw_error *error)
{
    struct scheduling scheduling;
    enum bw_code code = scheduling_store_read(api->scheduling_store, &scheduling, error);
    if (code != BW_OK)
        return code;
    *answer = share_json(api, course, scheduling_find_share(&scheduling, course));
    scheduling_clear(&scheduling);
    return BW_OK;
}

/* The names of all courses, as the keys of an object. */
static void scheduling_add_name(const struct course_entry *entry, void *context)
{
    json_object_set_new(context, entry->name, json_null());
}

static int scheduling_compare_names(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* Every course, also one of which only the store knows, in the order of their names. */
static json_t *shares_json(struct api *api, const struct scheduling *scheduling)
{
    json_auto_t *names = json_object();
    json_t *list = json_array(), *unused;
    const char *name;
    size_t count = 0;
    course_table_each(api->courses, scheduling_add_name, names);
    for (size_t i = 0; i < scheduling->share_count; i++)
        json_object_set_new(names, scheduling->shares[i].course, json_null());
    const char **sorted = bw_alloc_array(json_object_size(names) + 1, sizeof *sorted);
    json_object_foreach (names, name, unused)
        sorted[count++] = name;
    if (count > 0)
        qsort(sorted, count, sizeof *sorted, scheduling_compare_names);
    for (size_t i = 0, next = 0; i < count; i++) { /* the shares are in the same order */
        bool is_stated = next < scheduling->share_count &&
                         strcmp(scheduling->shares[next].course, sorted[i]) == 0;
        json_array_append_new(
            list, share_json(api, sorted[i], is_stated ? &scheduling->shares[next] : NULL));
        next += is_stated;
    }
    free(sorted);
    return list;
}

enum bw_code scheduling_settings_read(struct api *api, json_t **answer, struct bw_error *error)
{
    struct scheduling scheduling;
    enum bw_code code = scheduling_store_read(api->scheduling_store, &scheduling, error);
    if (code != BW_OK)
        return code;
    json_t *reservations = json_array();
    for (size_t i = 0; i < scheduling.reservation_count; i++)
        json_array_append_new(reservations, reservation_json(&scheduling.reservations[i]));
    *answer = json_pack("{s:o,s:o}", "courses", shares_json(api, &scheduling), "reservations",
                        reservations);
    scheduling_clear(&scheduling);
    return BW_OK;
}

/* ---- Writes ---- */

/* It is stored: answers `data` (stolen) when the scheduler has read it. */
static enum bw_code scheduling_confirm(struct api *api, const struct scheduling_request *request,
                                       const char *event, json_t *data)
{
    log_info(event, log_text("name", request->name), log_text("by", request->by));
    return pause_confirm(api, request->exchange, request->answer, data);
}

static enum bw_code scheduling_answer_share(struct api *api,
                                            const struct scheduling_request *request,
                                            const char *event, struct bw_error *error)
{
    json_t *share;
    exchange_carried_out(request->exchange);
    enum bw_code code = scheduling_settings_read_share(api, request->name, &share, error);
    if (code != BW_OK)
        return code;
    return scheduling_confirm(api, request, event, json_pack("{s:o}", "share", share));
}

enum bw_code scheduling_settings_put_share(struct api *api,
                                           const struct scheduling_request *request,
                                           struct bw_error *error)
{
    const json_t *weight = json_object_get(request->arguments, "weight"),
                 *max_running = json_object_get(request->arguments, "max_running");
    struct course_share share = {.weight = (uint32_t)json_integer_value(weight),
                                 .max_running = (uint32_t)json_integer_value(max_running),
                                 .has_max_running = max_running != NULL};
    if (weight == NULL && max_running == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "weight or max_running must be given, or both");
    enum bw_code code = scheduling_check_course(api, "", request->name, error);
    if (code != BW_OK)
        return code;
    snprintf(share.course, sizeof share.course, "%s", request->name);
    snprintf(share.by, sizeof share.by, "%s", request->by);
    code = scheduling_store_put_share(api->scheduling_store, &share, error);
    if (code != BW_OK)
        return code;
    return scheduling_answer_share(api, request, "the share of a course is set", error);
}

enum bw_code scheduling_settings_delete_share(struct api *api,
                                              const struct scheduling_request *request,
                                              struct bw_error *error)
{
    enum bw_code code = scheduling_store_delete_share(api->scheduling_store, request->name, error);
    if (code != BW_OK)
        return code;
    return scheduling_answer_share(api, request, "the share of a course is that of the file",
                                   error);
}

/* Takes the courses of a checked list, each once. On BW_OK reservation->courses is new. */
static enum bw_code reservation_take_courses(struct api *api, const json_t *list,
                                             struct reservation *reservation,
                                             struct bw_error *error)
{
    json_auto_t *seen = json_object();
    size_t index;
    json_t *item;
    char path[32];
    json_array_foreach (list, index, item) {
        snprintf(path, sizeof path, "courses[%zu]: ", index);
        enum bw_code code = scheduling_check_course(api, path, json_string_value(item), error);
        if (code != BW_OK)
            return code;
        json_object_set_new(seen, json_string_value(item), json_null());
    }
    if (list == NULL || json_is_null(list))
        return BW_OK;
    const char *name;
    reservation->courses = bw_alloc_array(json_object_size(seen), sizeof *reservation->courses);
    json_object_foreach (seen, name, item)
        snprintf(reservation->courses[reservation->course_count++], WORKER_ID_SIZE, "%s", name);
    return BW_OK;
}

/* On BW_OK the caller frees reservation->courses. */
static enum bw_code reservation_take(struct api *api, const struct scheduling_request *request,
                                     struct reservation *reservation, struct bw_error *error)
{
    const json_t *classes = json_object_get(request->arguments, "classes");
    const char *note = json_string_value(json_object_get(request->arguments, "note"));
    *reservation = (struct reservation){.classes = classes != NULL ? run_classes_of(classes)
                                                                   : (unsigned)RUN_CLASSES_ALL};
    if (is_hex_id(request->name, RUN_ID_LENGTH))
        return bw_fail(error, BW_BAD_REQUEST,
                       "'%s' can't be the name of a reservation: 24 hex digits are the id of a "
                       "grading run",
                       request->name);
    enum bw_code code = reservation_take_courses(
        api, json_object_get(request->arguments, "courses"), reservation, error);
    if (code != BW_OK)
        return code;
    char *tags = run_requires_text(json_object_get(request->arguments, "tags"));
    snprintf(reservation->name, sizeof reservation->name, "%s", request->name);
    snprintf(reservation->tags, sizeof reservation->tags, "%s", tags);
    snprintf(reservation->by, sizeof reservation->by, "%s", request->by);
    snprintf(reservation->note, sizeof reservation->note, "%s", note != NULL ? note : "");
    free(tags);
    return BW_OK;
}

enum bw_code scheduling_settings_put_reservation(struct api *api,
                                                 const struct scheduling_request *request,
                                                 struct bw_error *error)
{
    struct reservation reservation;
    int64_t seconds = json_integer_value(json_object_get(request->arguments, "timeout"));
    enum bw_code code = reservation_take(api, request, &reservation, error);
    if (code != BW_OK)
        return code;
    code = scheduling_store_put_reservation(api->scheduling_store, &reservation, seconds * 1000,
                                            error);
    json_t *shown = code == BW_OK ? reservation_json(&reservation) : NULL;
    free(reservation.courses);
    if (code != BW_OK)
        return code;
    exchange_carried_out(request->exchange);
    return scheduling_confirm(api, request, "graders are reserved",
                              json_pack("{s:o}", "reservation", shown));
}

enum bw_code scheduling_settings_delete_reservation(struct api *api,
                                                    const struct scheduling_request *request,
                                                    struct bw_error *error)
{
    enum bw_code code = scheduling_store_delete_reservation(api->scheduling_store, request->name,
                                                            error);
    if (code == BW_NOT_FOUND)
        return BW_BAD_REQUEST; /* with the same sentence */
    if (code != BW_OK)
        return code;
    exchange_carried_out(request->exchange);
    return scheduling_confirm(api, request, "a reservation is ended", json_object());
}

/* ---- The course file ---- */

static void scheduling_notified(enum bw_code code, const struct query_answer *answer, void *context)
{
    (void)answer, (void)context;
    if (code != BW_OK)
        log_event(LOG_LEVEL_INFO,
                  "no scheduler has confirmed that it has read the courses' shares");
}

void scheduling_settings_notify(struct api *api)
{
    const struct query query = {.kind = QUERY_PAUSES,
                                .request_timeout_ms = QUERY_TIMEOUT_MS,
                                .answered = scheduling_notified};
    scheduler_queries_ask(api->queries, &query);
}
