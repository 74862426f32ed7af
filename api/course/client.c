#include "api/course/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/course/envelope.h"
#include "api/http/exchange.h"
#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/auth/course_table.h"
#include "api/course/job_log.h"
#include "api/course/status.h"
#include "api/grading/definition_cache.h"
#include "api/grading/job_cancel.h"
#include "api/grading/job_log.h"
#include "api/grading/missing_graders.h"
#include "api/grading/pauses.h"
#include "api/options.h"
#include "api/grading/run_creation.h"
#include "api/grading/run_facts.h"
#include "api/grading/run_rerun.h"
#include "api/grading/run_start.h"
#include "common/domain/webhook.h"
#include "common/base/alloc.h"
#include "common/base/json_write.h"
#include "common/domain/course_definition.h"
#include "common/domain/course_submission_check.h"
#include "common/domain/course_submission_size.h"
#include "common/domain/owner_rules.h"
#include "common/base/json.h"
#include "common/store/grading_config_store.h"
#include "common/store/result_store.h"

/* Limit of a config as compact JSON. A config is copied into each run that is started with it. */
enum { CONFIG_MAX_BYTES = 1024 * 1024 };

/* ---- Configs ---- */

enum bw_code course_config_put(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    char *text = json_write(request->arguments, JSON_COMPACT);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
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
        course_succeed(exchange, json_null());
    return code;
}

/* Reads the config of the assignment that the path names; *config is a new reference. The parsed
 * value counts as the request's memory. */
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
    const json_t *rules = json_object_get(config, OWNER_RULES_KEY);
    if (rules != NULL) /* original clients compare the other keys */
        json_object_set(data, OWNER_RULES_KEY, (json_t *)(uintptr_t)rules);
    course_succeed(exchange, data);
    return BW_OK;
}

/* ---- Starting and cancelling a run ---- */

/* Makes the definition from the current config and the request. A config that the operator has
 * forbidden since it was stored is refused here. */
static enum bw_code define_run(struct api *api, struct exchange *exchange,
                               struct definition **definition, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct submission_limits limits = api_options_limits(api->options);
    json_auto_t *config = NULL, *object = NULL, *run = json_copy(request->arguments);
    json_object_del(run, WEBHOOKS_KEY); /* no part of the definition: they have secrets */
    enum bw_code code = read_config(api, exchange, &config, error);
    if (code == BW_OK)
        code = json_check(config, course_config_fields, "", &limits, error);
    if (code == BW_OK)
        code = course_submission_check_steps(config, request->arguments, error);
    if (code == BW_OK)
        code = course_definition_make(request->parts[0], request->parts[1], config, run, &object,
                                      error);
    if (code == BW_OK)
        code = course_submission_check_size(object, &limits, error);
    if (code != BW_OK)
        return code;
    *definition = definition_take(object);
    return BW_OK;
}

static void course_client_started(struct exchange *exchange, const char *run_id)
{
    course_succeed(exchange, json_pack("{s:s,s:O*}", "grading_run_id", run_id, WEBHOOKS_KEY,
                                       run_creation_webhooks(exchange)));
}

static void course_client_created(struct api *api, struct exchange *exchange, enum bw_code code,
                                  const struct run *run, const struct bw_error *error)
{
    if (code == BW_OK)
        run_start(api, exchange, run, course_client_started);
    else
        exchange_refuse(exchange, code, error);
}

/* A class that the operator has not allowed is refused. */
static enum bw_code course_client_check_class(struct api *api, const struct run *run,
                                              struct bw_error *error)
{
    unsigned classes;
    enum bw_code code = course_table_find(api->courses, run->course, &classes, error);
    if (code != BW_OK || (classes & (1U << run->run_class)) != 0)
        return code;
    return bw_fail(error, BW_FORBIDDEN,
                   "class: runs of '%s' may not be of the class %s; the operator allows it by "
                   "\"classes\" in the course's entry of the course file (--course-config)",
                   run->course, run_class_name(run->run_class));
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
    code = course_client_check_class(api, &run, error);
    if (code != BW_OK) {
        definition_release(definition);
        return code;
    }
    return run_create(api, exchange, run.course, definition, &run, course_client_created, error);
}

static enum bw_code course_client_check_rerun(struct api *api, json_t *object,
                                              struct bw_error *error)
{
    const struct submission_limits limits = api_options_limits(api->options);
    enum bw_code code = json_check(json_object_get(object, "config"), course_config_fields, "",
                                   &limits, error);
    return code == BW_OK ? course_submission_check_size(object, &limits, error) : code;
}

enum bw_code course_run_rerun(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct definition *definition;
    struct run earlier, run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &earlier, error);
    if (code != BW_OK)
        return code;
    code = run_rerun_prepare(api, request->arguments, &earlier, course_client_check_rerun,
                             &definition, &run, error);
    run_clear(&earlier);
    if (code != BW_OK)
        return code;
    code = course_client_check_class(api, &run, error);
    if (code != BW_OK) {
        definition_release(definition);
        return code;
    }
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
        course_succeed(exchange, json_null());
    return code;
}

/* ---- Cancelling a job ---- */

static void course_client_job_cancelled(struct exchange *exchange,
                                        const struct job_cancel_outcome *outcome)
{
    struct bw_error error = outcome->error;
    enum bw_code code = outcome->code;
    const char *state = course_job_outcome_state(outcome->outcome);
    if (code == BW_CONFLICT && outcome->outcome != OUTCOME_NONE)
        code = bw_fail(&error, BW_CONFLICT, "the job is over: %s", state);
    if (code == BW_OK)
        course_succeed(exchange,
                       json_pack("{s:s,s:s}", "grading_job_id", outcome->job, "state", state));
    else
        exchange_refuse(exchange, code, &error);
}

enum bw_code course_job_cancel(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    struct job_cancel_request cancel = {
        .run = &run, .exchange = exchange, .answer = course_client_job_cancelled};
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run,
                                        &cancel.slot, error);
    if (code != BW_OK)
        return code;
    job_cancel_begin(api, &cancel);
    run_clear(&run);
    return BW_PENDING;
}

/* ---- Reading ---- */

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

/* An answer about a run, in the protocol's envelope, and the data that it is made of. */
struct long_answer {
    struct run run;
    struct run_facts_found found;
    struct definition *definition; /* NULL: not needed */
    struct course_answer answer;
    char waiting_for[WAITING_SIZE];
    json_t *paused; /* own, or NULL */
};

static enum bw_code produce_answer(void *context, struct text_buffer *part, bool *is_last,
                                   struct bw_error *error)
{
    struct long_answer *answer = context;
    (void)error;
    if (!answer->answer.is_begun)
        text_buffer_add_text(part, COURSE_SUCCESS_BEFORE);
    *is_last = course_answer_write(&answer->answer, part);
    if (*is_last)
        text_buffer_add_text(part, COURSE_SUCCESS_AFTER);
    return BW_OK;
}

static void release_answer(void *context)
{
    struct long_answer *answer = context;
    definition_release(answer->definition);
    run_facts_clear(&answer->found);
    run_clear(&answer->run);
    json_decref(answer->paused);
    free(answer);
}

static size_t hold_answer(const void *context)
{
    const struct long_answer *answer = context;
    return answer->found.count * sizeof *answer->found.jobs;
}

/* The status reports missing graders only after this time: that of a new run must have exactly the
 * keys of the system that this protocol was designed for. */
enum { REPORT_AFTER_MS = 10000 };

/* Reads all data that the answer needs. The caller releases it by release_answer, also after a
 * failure. */
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
    if (code == BW_OK && answer->answer.kind == COURSE_ANSWER_STATUS)
        code = pause_of_run(api, &answer->run, &answer->paused, error);
    answer->answer.paused = answer->paused;
    if (code == BW_OK)
        code = run_facts_read(&sources, &answer->run, &answer->found, error);
    answer->answer.run = &answer->run;
    answer->answer.definition = answer->definition;
    answer->answer.facts = answer->found.jobs;
    if (code == BW_OK && answer->answer.kind == COURSE_ANSWER_STATUS)
        answer->answer.waiting_for = missing_graders_waiting(
            api->graders, &answer->run, &answer->found, REPORT_AFTER_MS, answer->waiting_for);
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

enum bw_code course_job_log(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct job_log_state log = {.is_over = false};
    struct run run;
    uint32_t slot;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    snprintf(log.place.job, sizeof log.place.job, "%s", request->parts[1]);
    code = job_log_find(api, &log, error);
    if (code == BW_OK && log.result.job[0] == '\0')
        return bw_fail(error, BW_BAD_REQUEST, "grading job has not finished yet");
    if (code == BW_OK)
        course_log_send(api, exchange, &log.result);
    return code;
}
