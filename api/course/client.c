#include "api/course/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/course/log.h"
#include "api/course/status.h"
#include "api/grading/definition_cache.h"
#include "api/http/thread_pool.h"
#include "api/grading/grader_presence.h"
#include "api/options.h"
#include "api/grading/run_creation.h"
#include "api/grading/run_facts.h"
#include "common/base/alloc.h"
#include "common/base/json_write.h"
#include "common/domain/course_definition.h"
#include "common/domain/course_size.h"
#include "common/base/json.h"
#include "common/store/grading_config_store.h"
#include "common/store/result_store.h"

/* A config is copied into each run that is started with it. */
enum { CONFIG_MAX_BYTES = 1024 * 1024, QUEUE_PAUSE_MS = 100 };

/* ---- Configs ---- */

enum bw_code course_config_put(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    char *text = json_write(request->arguments, JSON_COMPACT);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    if (strlen(text) > CONFIG_MAX_BYTES) {
        size_t length = strlen(text);
        free(text);
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading config takes %zu bytes as compact JSON, the limit is %d",
                       length, (int)CONFIG_MAX_BYTES);
    }
    enum bw_code code = grading_config_store_put(api->grading_config_store, request->parts[0],
                                                 request->parts[1], text, strlen(text), error);
    free(text);
    if (code == BW_OK)
        exchange_succeed(exchange, json_null());
    return code;
}

/* The config of the assignment that the path names; new reference. What is parsed counts as the
 * request's memory. */
static enum bw_code read_config(struct api *api, struct exchange *exchange, json_t **config,
                                struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct json_limits limits = exchange_json_limits(exchange);
    char *text;
    size_t length;
    enum bw_code code = grading_config_store_get(api->grading_config_store, request->parts[0],
                                                 request->parts[1], &text, &length, error);
    if (code == BW_NOT_FOUND)
        return BW_BAD_REQUEST;
    if (code != BW_OK)
        return code;
    code = json_parse_within(text, length, "the stored config", &limits, config, error);
    free(text);
    return code == BW_BAD_REQUEST ? BW_INTERNAL : code;
}

enum bw_code course_config_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    static const char *const keys[] = {"pre_processing_pipeline", "student_pipeline",
                                       "post_processing_pipeline", "env"};
    json_auto_t *config = NULL;
    enum bw_code code = read_config(api, exchange, &config, error);
    if (code != BW_OK)
        return code;
    json_t *data = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(config, keys[i]);
        json_object_set_new(data, keys[i], value != NULL ? json_incref(value) : json_null());
    }
    exchange_succeed(exchange, data);
    return BW_OK;
}

/* ---- Starting ---- */

/* The definition that follows from the config as it is now and from what was sent. What the
 * operator has come to forbid since the config was stored is refused here. */
static enum bw_code define_run(struct api *api, struct exchange *exchange,
                               struct definition **definition, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct definition_limits limits = api_options_limits(api->options);
    json_auto_t *config = NULL, *object = NULL;
    enum bw_code code = read_config(api, exchange, &config, error);
    if (code == BW_OK)
        code = json_check(config, course_config_fields, "", &limits, error);
    if (code == BW_OK)
        code = course_definition_make(request->parts[0], request->parts[1], config,
                                      request->arguments, &object, error);
    if (code == BW_OK)
        code = course_definition_check_size(object, &limits, error);
    if (code != BW_OK)
        return code;
    *definition = definition_of_course(object);
    return *definition != NULL ? BW_OK : bw_fail(error, BW_INTERNAL, "memory is short");
}

/* A run that is stored, until it is started. */
struct start {
    struct api *api;
    struct exchange *exchange;
    char run[RUN_ID_SIZE];
    enum run_phase first;
};

/* On the thread_pool: it waits for the database. */
static void start_run(void *argument)
{
    struct start *start = argument;
    struct exchange *exchange = start->exchange;
    struct bw_error error;
    char run[RUN_ID_SIZE];
    enum bw_code code = run_store_start(start->api->run_store, start->run, start->first, &error);
    memcpy(run, start->run, sizeof run);
    free(start);
    if (code == BW_OK || code == BW_CONFLICT) /* an earlier try of the same request started it */
        exchange_succeed(exchange, json_pack("{s:s}", "grading_run_id", run));
    else
        exchange_refuse(exchange, code, &error);
}

static const struct bw_error course_client_busy = {"this server is stopping: try again"};

/* Not urgent: while the database fails its writes it is tried for ten seconds, on its thread. The
 * run is stored already, so it waits for a place rather than be left without a start. */
static void course_client_queue_start(void *argument)
{
    struct start *start = argument;
    struct thread_pool *thread_pool = start->api->thread_pool;
    if (thread_pool_submit(thread_pool, false, start_run, start) ||
        thread_pool_submit_later(thread_pool, true, QUEUE_PAUSE_MS, course_client_queue_start,
                                 start))
        return;
    exchange_refuse(start->exchange, BW_UNAVAILABLE, &course_client_busy);
    free(start);
}

static void course_client_created(struct api *api, struct exchange *exchange, enum bw_code code,
                                  const struct run *run, const struct bw_error *error)
{
    struct start *start = code == BW_OK ? calloc(1, sizeof *start) : NULL;
    if (start == NULL) {
        exchange_refuse(exchange, code == BW_OK ? BW_UNAVAILABLE : code, error);
        return;
    }
    start->api = api;
    start->exchange = exchange;
    memcpy(start->run, run->id, sizeof start->run);
    start->first = run_first_phase(run);
    course_client_queue_start(start);
}

enum bw_code course_run_start(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct definition *definition = NULL;
    struct run run;
    enum bw_code code = define_run(api, exchange, &definition, error);
    if (code != BW_OK)
        return code;
    run_describe(definition, &run);
    snprintf(run.course, sizeof run.course, "%s", request->parts[0]);
    snprintf(run.assignment, sizeof run.assignment, "%s", request->parts[1]);
    return run_create(api, exchange, run.course, definition, &run, course_client_created, error);
}

enum bw_code course_run_cancel(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum run_phase phase = RUN_CANCELLED;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    code = run_store_cancel(api->run_store, run.id, &phase, error);
    if (code == BW_CONFLICT)
        return bw_fail(error, BW_CONFLICT, "the run is over: %s", course_run_state(phase));
    if (code == BW_OK)
        exchange_succeed(exchange, json_null());
    return code;
}

/* ---- Looking ---- */

enum bw_code course_find_run(struct api *api, const char *course, const char *id, struct run *run,
                             struct bw_error *error)
{
    enum bw_code code = BW_NOT_FOUND;
    if (is_hex_id(id, RUN_ID_LENGTH))
        code = run_store_read(api->run_store, id, run, error);
    if (code == BW_OK && strcmp(run->course, course) != 0) {
        run_clear(run);
        code = BW_NOT_FOUND;
    }
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "grading run with the given ID not found");
    return code;
}

enum bw_code course_find_job(struct api *api, const char *course, const char *id, struct run *run,
                             uint32_t *slot, struct bw_error *error)
{
    struct job_id job;
    enum bw_code code = BW_BAD_REQUEST;
    if (job_id_parse(id, &job))
        code = course_find_run(api, course, job.run, run, error);
    if (code == BW_OK &&
        !run_job_slot(run->has_pre, run->students, run->has_post, job.kind, job.index, slot)) {
        run_clear(run);
        code = BW_BAD_REQUEST;
    }
    if (code == BW_BAD_REQUEST)
        return bw_fail(error, BW_BAD_REQUEST, "grading job with the given ID not found");
    return code;
}

/* An answer about a run, in the protocol's envelope, and all that it is made of. */
struct long_answer {
    struct run run;
    struct run_facts_found found;
    struct definition *definition; /* NULL: it needs none */
    struct course_answer answer;
};

static enum bw_code produce_answer(void *context, struct text_buffer *part, bool *is_last,
                                   struct bw_error *error)
{
    struct long_answer *answer = context;
    (void)error;
    if (!answer->answer.is_begun)
        text_buffer_add_text(part, EXCHANGE_SUCCESS_BEFORE);
    *is_last = course_answer_write(&answer->answer, part);
    if (*is_last)
        text_buffer_add_text(part, EXCHANGE_SUCCESS_AFTER);
    return BW_OK;
}

static void release_answer(void *context)
{
    struct long_answer *answer = context;
    definition_release(answer->definition);
    run_facts_clear(&answer->found);
    run_clear(&answer->run);
    free(answer);
}

static size_t hold_answer(const void *context)
{
    const struct long_answer *answer = context;
    return answer->found.count * sizeof *answer->found.jobs;
}

/* A fresh run's status is that of the system this protocol comes from, key by key. */
enum { TOLD_AFTER_MS = 10000 };

/* Reads all that the answer needs; what was read is released with it, however this ends. */
static enum bw_code read_answer(struct api *api, const struct request *request,
                                struct long_answer *answer, struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &answer->run,
                                        error);
    if (code != BW_OK)
        return code;
    if (answer->answer.kind == COURSE_ANSWER_ENV)
        code = definition_cache_get(api->definitions, answer->run.id, &answer->definition, error);
    if (code == BW_NOT_FOUND)
        return BW_INTERNAL;
    if (code == BW_OK)
        code = run_facts_read(&sources, &answer->run, &answer->found, error);
    answer->answer.run = &answer->run;
    answer->answer.definition = answer->definition;
    answer->answer.facts = answer->found.jobs;
    if (code == BW_OK && answer->answer.kind == COURSE_ANSWER_STATUS &&
        run_status_has_queued(&answer->run, answer->found.jobs))
        answer->answer.waiting_for = grader_presence_missing(api->graders, &answer->run,
                                                             TOLD_AFTER_MS);
    return code;
}

static enum bw_code answer_about_run(struct api *api, struct exchange *exchange,
                                     enum course_answer_kind kind, struct bw_error *error)
{
    struct long_answer *answer = bw_alloc(sizeof *answer);
    answer->answer.kind = kind;
    enum bw_code code = read_answer(api, exchange_request(exchange), answer, error);
    if (code != BW_OK) {
        release_answer(answer);
        return code;
    }
    const struct answer_source source = {.produce = produce_answer,
                                         .release = release_answer,
                                         .held = hold_answer,
                                         .context = answer};
    answer_stream_send(api->answer_streams, exchange, &source);
    return BW_OK;
}

enum bw_code course_run_status(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return answer_about_run(api, exchange, COURSE_ANSWER_STATUS, error);
}

enum bw_code course_run_env(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return answer_about_run(api, exchange, COURSE_ANSWER_ENV, error);
}

/* ---- Logs ---- */

static void course_client_take_result(const struct result *result, void *context)
{
    *(struct result *)context = *result;
}

enum bw_code course_job_log(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    char jobs[1][JOB_ID_SIZE];
    struct run run;
    struct result result = {.job = ""};
    uint32_t slot;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    snprintf(jobs[0], sizeof jobs[0], "%s", request->parts[1]);
    code = result_store_read(api->result_store, (const char(*)[JOB_ID_SIZE])jobs, 1, false,
                             course_client_take_result, &result, error);
    if (code == BW_OK && result.job[0] == '\0')
        return bw_fail(error, BW_BAD_REQUEST, "grading job has not finished yet");
    if (code == BW_OK)
        course_log_send(api, exchange, &result);
    return code;
}
