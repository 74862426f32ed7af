#include "common/domain/course_definition.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/domain/run_schema.h"
#include "common/domain/job_size.h"
#include "common/base/json_write.h"

enum { MAX_STUDENTS = 100000, MAX_STAGES = 100, MAX_TEXT = 1024, MAX_TIMEOUT_S = 7 * 24 * 3600 };

static const char *const pipeline_names[] = {
    [JOB_PRE] = "pre_processing_pipeline",
    [JOB_STUDENT] = "student_pipeline",
    [JOB_POST] = "post_processing_pipeline",
};

static const char *const env_names[] = {
    [JOB_PRE] = "pre_processing_env",
    [JOB_STUDENT] = "students_env",
    [JOB_POST] = "post_processing_env",
};

/* ---- Shapes ---- */

#define TEXT(key, required)                                                              \
    {                                                                                    \
        .name = key, .kind = FIELD_STRING, .is_required = required, .minimum = required, \
        .maximum = MAX_TEXT                                                              \
    }

size_t course_value_length(const json_t *value)
{
    return json_is_string(value) ? json_string_length(value) : json_text_bytes(value);
}

/* Programs can be started with each entry of an env, an object. */
static enum bw_code check_entries(const json_t *env, const char *path, const void *context,
                                  struct bw_error *error)
{
    const char *name;
    json_t *value;
    (void)context;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value) {
        enum bw_code code = env_check_entry(path, name, course_value_length(value), error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static const struct json_field stage_fields[] = {
    TEXT("image", 1),
    {.name = "env", .kind = FIELD_OBJECT, .check = check_entries},
    {.name = "entrypoint",
     .kind = FIELD_STRING_LIST,
     .maximum = 1000,
     .check = stage_check_entrypoint},
    {.name = "networking", .kind = FIELD_BOOLEAN},
    {.name = "privileged", .kind = FIELD_BOOLEAN, .check = stage_check_privileged},
    {.name = "logs", .kind = FIELD_BOOLEAN},
    {.name = "hostname", .kind = FIELD_STRING, .maximum = HOST_NAME_LONGEST},
    TEXT("memory", 0),
    TEXT("cpuset_cpus", 0),
    {.name = "timeout",
     .kind = FIELD_NUMBER,
     .maximum = MAX_TIMEOUT_S,
     .check = stage_check_timeout},
    {.name = NULL},
};

/* A list of stages, or null: json_check lets null through for values of any kind alone. */
static enum bw_code check_pipeline(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error)
{
    size_t index;
    json_t *stage;
    if (json_is_null(value))
        return BW_OK;
    if (!json_is_array(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list, not %s", path,
                       json_kind_of(value));
    if (json_array_size(value) > MAX_STAGES)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d items, not %zu", path,
                       (int)MAX_STAGES, json_array_size(value));
    json_array_foreach (value, index, stage) {
        char at[64];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        enum bw_code code = json_check(stage, stage_fields, at, context, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static enum bw_code course_definition_check_env(const json_t *value, const char *path,
                                                const void *context, struct bw_error *error)
{
    if (json_is_null(value) || json_is_object(value))
        return check_entries(value, path, context, error);
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be an object or null, not %s", path,
                   json_kind_of(value));
}

static enum bw_code check_students(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error)
{
    size_t index;
    json_t *env;
    if (!json_is_array(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list, not %s", path,
                       json_kind_of(value));
    if (json_array_size(value) > MAX_STUDENTS)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d items, not %zu", path,
                       (int)MAX_STUDENTS, json_array_size(value));
    json_array_foreach (value, index, env) {
        char at[64];
        if (!json_is_object(env))
            return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: must be an object, not %s", path, index,
                           json_kind_of(env));
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        enum bw_code code = check_entries(env, at, context, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

const struct json_field course_config_fields[] = {
    {.name = "student_pipeline",
     .kind = FIELD_LIST,
     .is_required = true,
     .maximum = MAX_STAGES,
     .fields = stage_fields},
    {.name = "pre_processing_pipeline", .kind = FIELD_ANY, .check = check_pipeline},
    {.name = "post_processing_pipeline", .kind = FIELD_ANY, .check = check_pipeline},
    {.name = "env", .kind = FIELD_ANY, .check = course_definition_check_env},
    {.name = NULL},
};

const struct json_field course_run_fields[] = {
    {.name = "students_env", .kind = FIELD_ANY, .is_required = true, .check = check_students},
    {.name = "pre_processing_env", .kind = FIELD_OBJECT, .check = check_entries},
    {.name = "post_processing_env", .kind = FIELD_OBJECT, .check = check_entries},
    {.name = NULL},
};

/* ---- Making and reading ---- */

const char *course_pipeline_name(enum job_kind kind)
{
    return pipeline_names[kind];
}

static const json_t *config_pipeline(const json_t *config, enum job_kind kind)
{
    const json_t *pipeline = json_object_get(config, pipeline_names[kind]);
    bool is_job = kind == JOB_STUDENT || json_array_size(pipeline) > 0;
    return is_job ? pipeline : NULL;
}

enum bw_code course_definition_make(const char *course, const char *assignment, json_t *config,
                                    json_t *run, json_t **object, struct bw_error *error)
{
    static const enum job_kind steps[] = {JOB_PRE, JOB_POST};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (json_object_get(run, env_names[steps[i]]) != NULL &&
            config_pipeline(config, steps[i]) == NULL)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s is given, but the assignment's config has no %s",
                           env_names[steps[i]], pipeline_names[steps[i]]);
    json_t *made = json_pack("{s:s,s:s,s:O,s:O}", "course", course, "assignment", assignment,
                             "config", config, "run", run);
    if (made == NULL)
        return bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
    *object = made;
    return BW_OK;
}

bool is_course_definition(const json_t *object)
{
    return json_object_get(object, "config") != NULL;
}

bool course_definition_is_sound(const json_t *object)
{
    const json_t *config = json_object_get(object, "config"), *run = json_object_get(object, "run");
    size_t index;
    json_t *item;
    if (!json_is_array(json_object_get(config, pipeline_names[JOB_STUDENT])) ||
        !json_is_array(json_object_get(run, env_names[JOB_STUDENT])))
        return false;
    json_array_foreach (json_object_get(run, env_names[JOB_STUDENT]), index, item)
        if (!json_is_object(item))
            return false;
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        json_array_foreach (json_object_get(config, pipeline_names[kind]), index, item)
            if (!json_is_object(item))
                return false;
    return true;
}

const json_t *course_definition_pipeline(const json_t *object, enum job_kind kind)
{
    return config_pipeline(json_object_get(object, "config"), kind);
}

const json_t *course_definition_students(const json_t *object)
{
    return json_object_get(json_object_get(object, "run"), env_names[JOB_STUDENT]);
}

/* ---- A job ---- */

json_t *course_definition_job_env(const json_t *object, enum job_kind kind, size_t index)
{
    json_t *env = json_object_get(json_object_get(object, "run"), env_names[kind]);
    return kind == JOB_STUDENT ? json_array_get(env, index) : env;
}

static bool course_definition_has_job(const json_t *object, const struct job_id *job)
{
    if (course_definition_pipeline(object, job->kind) == NULL)
        return false;
    if (job->kind == JOB_STUDENT)
        return job->index < json_array_size(course_definition_students(object));
    return job->index == 0;
}

/* What is no object adds nothing. */
static bool add_env(json_t *env, json_t *more)
{
    return !json_is_object(more) || json_object_update(env, more) == 0;
}

/* A stage's environment, merged. New reference; NULL: no memory. */
static json_t *stage_env(const json_t *object, const json_t *stage, const struct job_id *job)
{
    char id[JOB_ID_SIZE];
    json_t *env = json_object();
    bool ok = add_env(env, json_object_get(json_object_get(object, "config"), "env")) &&
              json_object_set_new(env, "GRADING_RUN_ID", json_string(job->run)) == 0 &&
              add_env(env, json_object_get(stage, "env")) &&
              add_env(env, course_definition_job_env(object, job->kind, job->index)) &&
              json_object_set_new(env, "GRADING_JOB_ID", json_string(job_id_format(job, id))) == 0;
    if (ok)
        return env;
    json_decref(env);
    return NULL;
}

/* New reference; NULL: no memory. */
static json_t *hand_out_stage(const json_t *object, const json_t *stage, const struct job_id *job,
                              enum course_grader grader)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)stage); /* does not change its argument */
    if (grader == COURSE_GRADER_SOCKET && json_is_true(json_object_get(copy, "logs")))
        json_object_del(copy, "logs");
    if (json_object_set_new(copy, "env", stage_env(object, stage, job)) == 0)
        return copy;
    json_decref(copy);
    return NULL;
}

enum bw_code course_job_payload(const json_t *object, const struct job_id *job,
                                enum course_grader grader, char **payload, struct bw_error *error)
{
    char id[JOB_ID_SIZE];
    size_t index;
    json_t *stage, *stages = json_array();
    if (!course_definition_has_job(object, job)) {
        json_decref(stages);
        return bw_fail(error, BW_NOT_FOUND, "the grading run has no job '%s'",
                       job_id_format(job, id));
    }
    json_array_foreach (course_definition_pipeline(object, job->kind), index, stage)
        json_array_append_new(stages, hand_out_stage(object, stage, job, grader));
    json_t *body = json_pack("{s:s,s:o}", "grading_job_id", job_id_format(job, id), "stages",
                             stages);
    if (grader == COURSE_GRADER_HTTP)
        body = json_pack("{s:s,s:o}", "status", "success", "data", body);
    char *text = json_write(body, JSON_COMPACT);
    json_decref(body);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "there is no memory for the job");
    *payload = text;
    return BW_OK;
}

static bool holds_value(const json_t *values, const json_t *wanted)
{
    size_t index;
    json_t *value;
    json_array_foreach (values, index, value)
        if (json_equal(value, wanted))
            return true;
    return false;
}

static void collect_values(json_t *collected, const json_t *env)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value) {
        json_t *values = json_object_get(collected, name);
        if (values == NULL) {
            json_object_set_new(collected, name, json_array());
            values = json_object_get(collected, name);
        }
        if (!holds_value(values, value))
            json_array_append_new(values, json_copy(value)); /* it is other threads', too */
    }
}

json_t *course_job_env(const json_t *object, const struct job_id *job)
{
    size_t index;
    json_t *stage, *collected = json_object();
    json_array_foreach (course_definition_pipeline(object, job->kind), index, stage) {
        json_auto_t *env = stage_env(object, stage, job);
        collect_values(collected, env);
    }
    return collected;
}
