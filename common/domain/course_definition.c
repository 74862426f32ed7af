#include "common/domain/course_definition.h"

#include <stdint.h>
#include <string.h>

#include "common/domain/job_size.h"
#include "common/base/json_write.h"

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

/* ---- Creating and reading ---- */

const char *course_pipeline_name(enum job_kind kind)
{
    return pipeline_names[kind];
}

const char *course_env_name(enum job_kind kind)
{
    return env_names[kind];
}

const json_t *course_config_pipeline(const json_t *config, enum job_kind kind)
{
    const json_t *pipeline = json_object_get(config, pipeline_names[kind]);
    bool is_job = kind == JOB_STUDENT || json_array_size(pipeline) > 0;
    return is_job ? pipeline : NULL;
}

enum bw_code course_definition_make(const char *course, const char *assignment, json_t *config,
                                    json_t *run, json_t **object, struct bw_error *error)
{
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
    return course_config_pipeline(json_object_get(object, "config"), kind);
}

const json_t *course_definition_students(const json_t *object)
{
    return json_object_get(json_object_get(object, "run"), env_names[JOB_STUDENT]);
}

/* ---- A job ---- */

size_t course_value_length(const json_t *value)
{
    return json_is_string(value) ? json_string_length(value) : json_text_bytes(value);
}

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

/* A value that is not an object adds nothing. */
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

json_t *course_job_stages(const json_t *object, const struct job_id *job, enum course_grader grader)
{
    size_t index;
    json_t *stage, *stages = json_array();
    json_array_foreach (course_definition_pipeline(object, job->kind), index, stage)
        json_array_append_new(stages, hand_out_stage(object, stage, job, grader));
    return stages;
}

enum bw_code course_job_payload(const json_t *object, const struct job_id *job,
                                enum course_grader grader, char **payload, struct bw_error *error)
{
    char id[JOB_ID_SIZE];
    if (!course_definition_has_job(object, job))
        return bw_fail(error, BW_NOT_FOUND, "the grading run has no job '%s'",
                       job_id_format(job, id));
    json_t *body = json_pack("{s:s,s:o}", "grading_job_id", job_id_format(job, id), "stages",
                             course_job_stages(object, job, grader));
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
            json_array_append_new(values, json_copy(value)); /* other threads read it, too */
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
