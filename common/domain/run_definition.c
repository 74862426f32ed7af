#include "common/domain/run_definition.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/breaker.h"
#include "common/domain/course_definition.h"
#include "common/domain/owner_rules.h"
#include "common/domain/submission_size.h"
#include "common/domain/supersede.h"
#include "common/domain/submission_check.h"
#include "common/domain/env.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/json_scan.h"
#include "common/base/json_write.h"
#include "common/base/running_digest.h"

struct definition {
    atomic_uint references;
    json_t *object;
    enum protocol protocol;     /* whose form it has */
    const json_t *pipelines[3]; /* by enum job_kind; NULL: there is no such job */
    const json_t *students, *env;
    size_t size;
    _Atomic(json_t *) shared; /* NULL until it is known */
    _Atomic(char *) digest;   /* NULL until it is asked for */
};

struct definition *definition_take(json_t *object)
{
    struct definition *definition = bw_alloc(sizeof *definition);
    atomic_init(&definition->references, 1);
    definition->object = json_incref(object);
    bool is_course = is_course_definition(object);
    definition->protocol = protocol_by_course(is_course);
    definition->size = sizeof *definition + json_value_memory(object);
    definition->students = is_course ? course_definition_students(object)
                                     : json_object_get(object, "students");
    definition->env = json_object_get(object, "env");
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        definition->pipelines[kind] = is_course
                                          ? course_definition_pipeline(object, (enum job_kind)kind)
                                          : definition_pipeline(object, (enum job_kind)kind);
    return definition;
}

const json_t *definition_object(const struct definition *definition)
{
    return definition->object;
}

/* The object that has what the client has said of the run. */
static const json_t *definition_run(const struct definition *definition)
{
    const json_t *object = definition->object;
    return is_course_definition(object) ? json_object_get(object, "run") : object;
}

struct run_files definition_files(const struct definition *definition)
{
    return run_files_of(definition_run(definition));
}

uint8_t *definition_supersede_digests(const struct definition *definition, const char *course,
                                      const char *assignment)
{
    return supersede_digests(definition_run(definition), json_array_size(definition->students),
                             course, assignment);
}

char *definition_labels(const struct definition *definition)
{
    const json_t *labels = json_object_get(definition_run(definition), "labels");
    return json_object_size(labels) > 0 ? json_write(labels, JSON_COMPACT) : NULL;
}

char *definition_requires(const struct definition *definition)
{
    return run_requires_text(json_object_get(definition_run(definition), "requires"));
}

/* A class that only a later version knows counts as the default. */
static enum run_class definition_class(const struct definition *definition)
{
    const char *name = json_string_value(json_object_get(definition_run(definition), "class"));
    enum run_class run_class = RUN_CLASS_NORMAL;
    if (name != NULL)
        (void)run_class_find(name, &run_class);
    return run_class;
}

double definition_supersede_share(const struct definition *definition)
{
    return supersede_share(definition_run(definition));
}

const json_t *definition_owner_rules(const struct definition *definition)
{
    const json_t *object = definition->object;
    if (is_course_definition(object))
        object = json_object_get(object, "config");
    return json_object_get(object, OWNER_RULES_KEY);
}

json_t *definition_job_files(const struct definition *definition, const struct job_id *job)
{
    const struct run_files files = definition_files(definition);
    return run_files_of_job(&files, job);
}

const json_t *definition_students(const struct definition *definition)
{
    return definition->students;
}

enum protocol definition_protocol(const struct definition *definition)
{
    return definition->protocol;
}

/* Takes time in proportion to the text that was submitted, however many jobs it stands for. */
static enum bw_code definition_check(const json_t *object, const struct submission_limits *limits,
                                     struct bw_error *error)
{
    struct run_size size = {.limits = limits};
    const struct run_files files = run_files_of(object);
    enum bw_code code = submission_check_fields(object, limits, error);
    if (code == BW_OK)
        code = run_files_check_jobs(&files, json_array_size(json_object_get(object, "students")),
                                    error);
    if (code == BW_OK)
        code = supersede_check_run(object, json_array_size(json_object_get(object, "students")),
                                   error);
    for (enum job_kind kind = JOB_PRE; code == BW_OK && kind <= JOB_POST; kind++) {
        code = submission_check_synonyms(object, kind, error);
        if (code == BW_OK && definition_pipeline(object, kind) != NULL)
            code = submission_check_jobs(object, kind, &size, error);
    }
    return code == BW_OK ? submission_check_size(object, &size, error) : code;
}

enum bw_code definition_new(json_t *object, const struct submission_limits *limits,
                            struct definition **definition, struct bw_error *error)
{
    enum bw_code code = definition_check(object, limits, error);
    if (code != BW_OK)
        return code;
    *definition = definition_take(object);
    return BW_OK;
}

enum bw_code definition_load(const char *text, size_t length, const struct json_limits *limits,
                             struct definition **definition, struct bw_error *error)
{
    json_t *object;
    enum bw_code code = json_parse_within(text, length, "the stored grading run", limits, &object,
                                          error);
    if (code != BW_OK)
        return code;
    bool is_sound = is_course_definition(object) ? course_definition_is_sound(object)
                                                 : definition_is_sound(object);
    if (!is_sound) {
        json_decref(object);
        return bw_fail(error, BW_BAD_REQUEST,
                       "the stored grading run doesn't have the shape of one");
    }
    *definition = definition_take(object);
    json_decref(object);
    return BW_OK;
}

struct definition *definition_hold(struct definition *definition)
{
    atomic_fetch_add(&definition->references, 1);
    return definition;
}

void definition_release(struct definition *definition)
{
    if (definition == NULL || atomic_fetch_sub(&definition->references, 1) != 1)
        return;
    json_decref(definition->object);
    json_decref(atomic_load(&definition->shared));
    free(atomic_load(&definition->digest));
    free(definition);
}

char *definition_text(const struct definition *definition)
{
    return json_write(definition->object, JSON_COMPACT);
}

char *definition_canonical_text(const struct definition *definition)
{
    json_t *rerun = json_object_get(definition->object, "rerun");
    if (rerun == NULL)
        return json_dumps(definition->object, JSON_COMPACT | JSON_SORT_KEYS);
    json_t *asked = json_pack("{s:O,s:O}", "of", json_object_get(rerun, "of"), "request",
                              json_object_get(rerun, "request"));
    char *text = json_dumps(asked, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(asked);
    return text;
}

size_t definition_size(const struct definition *definition)
{
    return definition->size;
}

const json_t *definition_stages(const struct definition *definition, enum job_kind kind)
{
    return definition->pipelines[kind];
}

bool definition_has_pre(const struct definition *definition)
{
    return definition->pipelines[JOB_PRE] != NULL;
}

void definition_set_shared(struct definition *definition, json_t *shared)
{
    json_t *unknown = NULL;
    if (!atomic_compare_exchange_strong(&definition->shared, &unknown, shared))
        json_decref(shared);
}

json_t *definition_shared(const struct definition *definition)
{
    return atomic_load(&definition->shared);
}

/* ---- Accessors ---- */

static void sum_timeouts(const json_t *pipeline, int64_t *sum_ms, uint32_t *untimed)
{
    size_t index;
    json_t *stage;
    double sum = 0;
    *untimed = 0;
    json_array_foreach (pipeline, index, stage) {
        const json_t *timeout = json_object_get(stage, "timeout");
        *untimed += timeout == NULL;
        sum += timeout != NULL ? json_number_value(timeout) : 0;
    }
    *sum_ms = (int64_t)ceil(sum * 1000);
}

/* An argument of the request that started the run; borrowed, NULL: it was absent. */
static const json_t *definition_argument(const struct definition *definition, const char *name)
{
    const json_t *run = json_object_get(definition->object, "run");
    return json_object_get(run != NULL ? run : definition->object, name);
}

struct definition_summary definition_summary(const struct definition *definition)
{
    struct definition_summary summary = {
        .has_pre = definition->pipelines[JOB_PRE] != NULL,
        .has_post = definition->pipelines[JOB_POST] != NULL,
        .students = (uint32_t)json_array_size(definition->students),
        .student_has_stages = json_array_size(definition->pipelines[JOB_STUDENT]) > 0,
        .priority = (int)json_integer_value(json_object_get(definition->object, "priority")),
        .max_attempts = (int)json_integer_value(
            json_object_get(definition->object, "max_attempts")),
        .breaker = breaker_limit(definition_argument(definition, "breaker")),
        .name = json_string_value(definition_argument(definition, "name")),
        .run_class = definition_class(definition),
        .submitter = json_string_value(definition_argument(definition, "submitter")),
    };
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        sum_timeouts(definition->pipelines[kind], &summary.timeout_ms[kind],
                     &summary.untimed_stages[kind]);
    return summary;
}

/* A copy of the stage with its env replaced by `env`, which is stolen; at the same position, or at
 * the end if the stage has no env. */
static json_t *stage_with_env(const json_t *stage, json_t *env)
{
    json_t *copy = json_copy(
        (json_t *)(uintptr_t)stage); /* jansson's copy does not change its argument */
    if (json_object_set_new(copy, "env", env) != 0) { /* steals also on failure */
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static json_t *run_definition_student_of(const struct definition *definition,
                                         const struct job_id *job)
{
    return job->kind == JOB_STUDENT ? json_array_get(definition->students, job->index) : NULL;
}

/* The stages with their expanded environments, as a list of NAME=value or as an object. */
static enum bw_code expand_stages(const struct definition *definition, const struct job_id *job,
                                  bool as_object, json_t **stages, struct bw_error *error)
{
    size_t index;
    json_t *stage, *expanded = json_array();
    json_array_foreach (definition->pipelines[job->kind], index, stage) {
        json_t *list;
        enum bw_code code = env_expand(json_object_get(stage, "env"), definition->env,
                                       run_definition_student_of(definition, job),
                                       job_kind_name(job->kind), &list, error);
        if (code != BW_OK) {
            json_decref(expanded);
            return code;
        }
        json_t *env = as_object ? env_object(list) : json_incref(list);
        json_decref(list);
        if (json_array_append_new(expanded, stage_with_env(stage, env)) != 0) {
            json_decref(expanded);
            return bw_fail(error, BW_INTERNAL, "there is no memory for the job's stages");
        }
    }
    *stages = expanded;
    return BW_OK;
}

static bool run_definition_has_job(const struct definition *definition, const struct job_id *job)
{
    if (job->kind == JOB_STUDENT)
        return job->index < json_array_size(definition->students);
    return definition->pipelines[job->kind] != NULL && job->index == 0;
}

enum bw_code definition_job_payload(const struct definition *definition, const struct job_id *job,
                                    uint32_t attempt, char **payload, struct bw_error *error)
{
    char id[JOB_ID_SIZE];
    json_t *stages;
    if (!run_definition_has_job(definition, job))
        return bw_fail(error, BW_NOT_FOUND, "the grading run has no job '%s'",
                       job_id_format(job, id));
    enum bw_code code = expand_stages(definition, job, false, &stages, error);
    if (code != BW_OK)
        return code;
    json_t *body = json_pack("{s:s,s:i,s:o}", "job_id", job_id_format(job, id), "attempt",
                             (int)attempt, "stages", stages);
    if (job->kind != JOB_STUDENT)
        json_object_set_new(body, "students", json_copy((json_t *)(uintptr_t)definition->students));
    char *text = json_write(body, JSON_COMPACT);
    json_decref(body);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "there is no memory for the job");
    *payload = text;
    return BW_OK;
}

/* ---- Digests ---- */

/* Of the value's canonical text: compact JSON with sorted keys. */
static void run_definition_digest_value(const json_t *value, char digest[SHA256_TEXT_SIZE])
{
    char *text = json_write(value, JSON_COMPACT | JSON_SORT_KEYS);
    struct running_digest *running = running_digest_new();
    if (text == NULL)
        abort();
    running_digest_add(running, text, strlen(text));
    running_digest_finish(running, digest);
    free(text);
}

void definition_digest(struct definition *definition, char digest[SHA256_TEXT_SIZE])
{
    const char *known = atomic_load(&definition->digest);
    if (known != NULL) {
        memcpy(digest, known, SHA256_TEXT_SIZE);
        return;
    }
    char *unknown = NULL, *made = bw_alloc(SHA256_TEXT_SIZE);
    run_definition_digest_value(definition->object, made);
    memcpy(digest, made, SHA256_TEXT_SIZE);
    if (!atomic_compare_exchange_strong(&definition->digest, &unknown, made))
        free(made);
}

bool definition_stages_digest(const struct definition *definition, const struct job_id *job,
                              char digest[SHA256_TEXT_SIZE])
{
    struct bw_error unused;
    json_t *stages = NULL;
    if (!run_definition_has_job(definition, job))
        return false;
    if (is_course_definition(definition->object))
        stages = course_job_stages(definition->object, job, COURSE_GRADER_HTTP);
    else if (expand_stages(definition, job, false, &stages, &unused) != BW_OK)
        return false;
    run_definition_digest_value(stages, digest);
    json_decref(stages);
    return true;
}

json_t *definition_student_stages(const struct definition *definition, const char *run,
                                  uint32_t student)
{
    struct job_id job = {.kind = JOB_STUDENT, .index = student};
    json_t *stages;
    struct bw_error unused;
    if (!run_definition_has_job(definition, &job))
        return NULL;
    snprintf(job.run, sizeof job.run, "%s", run);
    if (is_course_definition(definition->object))
        return course_job_stages(definition->object, &job, COURSE_GRADER_HTTP);
    return expand_stages(definition, &job, true, &stages, &unused) == BW_OK ? stages : NULL;
}

const json_t *definition_student(const struct definition *definition, uint32_t student)
{
    return json_array_get(definition->students, student);
}
