#include "common/domain/run_definition.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/course_definition.h"
#include "common/domain/run_schema.h"
#include "common/domain/env.h"
#include "common/base/json.h"
#include "common/base/json_write.h"

struct definition {
    atomic_uint references;
    json_t *object;
    bool is_course;
    const json_t *pipelines[3]; /* by enum job_kind; NULL: there is no such job */
    const json_t *students, *env;
    size_t size;
};

/* About what a value takes in memory. No recursion here is deeper than json_parse lets it be. */
static size_t value_size(const json_t *value)
{
    enum { NODE = 64, ENTRY = 112 }; /* a value and its place in a list; in an object */
    const char *name;
    json_t *member;
    size_t index, size = NODE + json_string_length(value);
    json_array_foreach (value, index, member)
        size += value_size(member);
    json_object_foreach ((json_t *)(uintptr_t)value, name, member)
        size += ENTRY + strlen(name) + value_size(member);
    return size;
}

static struct definition *take_object(json_t *object)
{
    struct definition *definition = calloc(1, sizeof *definition);
    if (definition == NULL)
        return NULL;
    atomic_init(&definition->references, 1);
    definition->object = json_incref(object);
    definition->is_course = is_course_definition(object);
    definition->size = sizeof *definition + value_size(object);
    definition->students = definition->is_course ? course_definition_students(object)
                                                 : json_object_get(object, "students");
    definition->env = json_object_get(object, "env");
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        definition->pipelines[kind] = definition->is_course
                                          ? course_definition_pipeline(object, (enum job_kind)kind)
                                          : definition_pipeline(object, (enum job_kind)kind);
    return definition;
}

struct definition *definition_of_course(json_t *object)
{
    return take_object(object);
}

const json_t *definition_object(const struct definition *definition)
{
    return definition->object;
}

bool definition_is_course(const struct definition *definition)
{
    return definition->is_course;
}

enum bw_code definition_new(json_t *object, const struct definition_limits *limits,
                            struct definition **definition, struct bw_error *error)
{
    enum bw_code code = definition_check(object, limits, error);
    if (code != BW_OK)
        return code;
    struct definition *made = take_object(object);
    if (made == NULL)
        return bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
    *definition = made;
    return BW_OK;
}

enum bw_code definition_load(const char *text, size_t length, struct definition **definition,
                             struct bw_error *error)
{
    json_t *object;
    enum bw_code code = json_parse(text, length, "the stored grading run", &object, error);
    if (code != BW_OK)
        return code;
    bool is_sound = is_course_definition(object) ? course_definition_is_sound(object)
                                                 : definition_is_sound(object);
    if (!is_sound) {
        json_decref(object);
        return bw_fail(error, BW_BAD_REQUEST,
                       "the stored grading run doesn't have the shape of one");
    }
    struct definition *loaded = take_object(object);
    json_decref(object);
    if (loaded == NULL)
        return bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
    *definition = loaded;
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
    free(definition);
}

char *definition_text(const struct definition *definition)
{
    return json_write(definition->object, JSON_COMPACT);
}

char *definition_canonical_text(const struct definition *definition)
{
    return json_dumps(definition->object, JSON_COMPACT | JSON_SORT_KEYS);
}

size_t definition_size(const struct definition *definition)
{
    return definition->size;
}

/* ---- What others ask of it. ---- */

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
        .name = json_string_value(json_object_get(definition->object, "name")),
    };
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        sum_timeouts(definition->pipelines[kind], &summary.timeout_ms[kind],
                     &summary.untimed_stages[kind]);
    return summary;
}

/* A copy of the stage whose env is `env`, stolen; in the place where the stage's own stood, else at
 * the end. */
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

json_t *definition_student_stages(const struct definition *definition, uint32_t student)
{
    struct job_id job = {.kind = JOB_STUDENT, .index = student};
    json_t *stages;
    struct bw_error unused;
    if (!run_definition_has_job(definition, &job) ||
        expand_stages(definition, &job, true, &stages, &unused) != BW_OK)
        return NULL;
    return stages;
}
