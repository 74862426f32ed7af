#include "common/definition.h"

#include <ctype.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/env.h"
#include "common/json.h"

enum {
    MAX_STUDENTS = 100000,
    MAX_STAGES = 100,
    MAX_ENV = 1000,
    MAX_ENTRYPOINT = 1000,
    MAX_TIMEOUT_SECONDS = 7 * 24 * 3600,
    MAX_EXPANDED_BYTES = 1024 * 1024, /* of all environments of one job */
    WHERE_SIZE = 96
};

struct definition {
    atomic_uint references;
    json_t *object;
    const json_t *pipelines[3]; /* by enum job_kind; NULL: there is no such job */
    const json_t *students, *env;
    size_t size;
};

/* ---- The shape of what is submitted. ---- */

static enum bw_code check_name(const json_t *value, const char *path, const void *context, struct bw_error *error)
{
    (void)context;
    for (const unsigned char *at = (const unsigned char *)json_string_value(value); *at != '\0'; at++)
        if (*at < 0x20 || *at == 0x7F)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}

static enum bw_code check_privileged(const json_t *value, const char *path, const void *context, struct bw_error *error)
{
    const struct definition_limits *limits = context;
    if (json_is_true(value) && !limits->allow_privileged)
        return bw_fail(error, BW_BAD_REQUEST, "%s: privileged containers are refused here (--allow-privileged is off)", path);
    return BW_OK;
}

static enum bw_code check_timeout(const json_t *value, const char *path, const void *context, struct bw_error *error)
{
    (void)context;
    if (json_number_value(value) <= 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be more than 0 seconds", path);
    return BW_OK;
}

/* Digits, and perhaps a unit. */
static enum bw_code check_memory(const json_t *value, const char *path, const void *context, struct bw_error *error)
{
    (void)context;
    const char *text = json_string_value(value);
    size_t digits = strspn(text, "0123456789"), units = strspn(text + digits, "bkmgBKMG");
    if (digits == 0 || digits > 15 || units > 1 || text[digits + units] != '\0')
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a number with an optional unit b, k, m or g, like 512m", path);
    return BW_OK;
}

static enum bw_code check_cpus(const json_t *value, const char *path, const void *context, struct bw_error *error)
{
    (void)context;
    const char *text = json_string_value(value);
    if (strspn(text, "0123456789,-") != strlen(text) || !isdigit((unsigned char)text[0]))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list of processors, like 0-2 or 0,1", path);
    return BW_OK;
}

static const struct json_field stage_fields[] = {
    {.name = "image", .kind = FIELD_STRING, .is_required = true, .minimum = 1, .maximum = 1024, .check = check_name},
    {.name = "env", .kind = FIELD_ENV, .maximum = MAX_ENV},
    {.name = "entrypoint", .kind = FIELD_STRING_LIST, .maximum = MAX_ENTRYPOINT},
    {.name = "enable_networking", .kind = FIELD_BOOLEAN},
    {.name = "networking", .kind = FIELD_BOOLEAN},
    {.name = "host_name", .kind = FIELD_STRING, .minimum = 1, .maximum = 255, .check = check_name},
    {.name = "hostname", .kind = FIELD_STRING, .minimum = 1, .maximum = 255, .check = check_name},
    {.name = "timeout", .kind = FIELD_NUMBER, .maximum = MAX_TIMEOUT_SECONDS, .check = check_timeout},
    {.name = "memory", .kind = FIELD_STRING, .minimum = 1, .maximum = 32, .check = check_memory},
    {.name = "cpuset_cpus", .kind = FIELD_STRING, .minimum = 1, .maximum = 255, .check = check_cpus},
    {.name = "privileged", .kind = FIELD_BOOLEAN, .check = check_privileged},
    {.name = "logs", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

#define PIPELINE(key, required)                                                                                        \
    {                                                                                                                  \
        .name = key, .kind = FIELD_LIST, .is_required = required, .maximum = MAX_STAGES, .fields = stage_fields        \
    }

static const struct json_field run_fields[] = {
    PIPELINE("student_pipeline", true),
    PIPELINE("preprocessing_pipeline", false),
    PIPELINE("postprocessing_pipeline", false),
    {.name = "students", .kind = FIELD_ENV_LIST, .is_required = true, .maximum = MAX_STUDENTS},
    {.name = "env", .kind = FIELD_ENV, .maximum = MAX_ENV},
    {.name = "priority", .kind = FIELD_INTEGER, .minimum = -100, .maximum = 100},
    {.name = "name", .kind = FIELD_STRING, .minimum = 1, .maximum = 200, .check = check_name},
    {.name = "max_attempts", .kind = FIELD_INTEGER, .minimum = 1, .maximum = 10},
    {.name = NULL},
};

static const char *const pipeline_names[] = {
    [JOB_PRE] = "preprocessing_pipeline",
    [JOB_STUDENT] = "student_pipeline",
    [JOB_POST] = "postprocessing_pipeline",
};

/* ---- What a table of fields can't say. ---- */

/* One thing has two names: only one may be used in a stage. */
static enum bw_code check_synonyms(const json_t *pipeline, const char *name, struct bw_error *error)
{
    static const char *const synonyms[][2] = {{"enable_networking", "networking"}, {"host_name", "hostname"}};
    size_t index;
    json_t *stage;
    json_array_foreach (pipeline, index, stage)
        for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
            if (json_object_get(stage, synonyms[i][0]) != NULL && json_object_get(stage, synonyms[i][1]) != NULL)
                return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: '%s' and '%s' mean the same: give one of them", name, index,
                               synonyms[i][0], synonyms[i][1]);
    return BW_OK;
}

/* About how many bytes the literal part of an env takes once expanded. */
static size_t env_bytes(const json_t *env)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;
    if (env != NULL)
        json_object_foreach ((json_t *)(uintptr_t)env, name, value)
            bytes += strlen(name) + json_string_length(value) + 2;
    return bytes;
}

/* Bytes of all the environments of a pipeline's stages, without the student's. */
static size_t pipeline_env_bytes(const json_t *pipeline, size_t run_bytes)
{
    size_t index, bytes = 0;
    json_t *stage;
    json_array_foreach (pipeline, index, stage)
        bytes += run_bytes + env_bytes(json_object_get(stage, "env"));
    return bytes;
}

static enum bw_code check_expanded(size_t bytes, const char *name, struct bw_error *error)
{
    if (bytes <= MAX_EXPANDED_BYTES)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: the environments of one job take %zu bytes once expanded; at most %d are allowed",
                   name, bytes, (int)MAX_EXPANDED_BYTES);
}

/* Resolves every reference of a pipeline for one student (or none, index < 0). */
static enum bw_code resolve_pipeline(const struct definition *definition, enum job_kind kind, const json_t *student,
                                     long index, struct bw_error *error)
{
    size_t at;
    json_t *stage;
    json_array_foreach (definition->pipelines[kind], at, stage) {
        char where[WHERE_SIZE];
        if (index < 0)
            snprintf(where, sizeof where, "%s[%zu].env", pipeline_names[kind], at);
        else
            snprintf(where, sizeof where, "%s[%zu].env, student %ld", pipeline_names[kind], at, index);
        enum bw_code code = env_resolve(json_object_get(stage, "env"), definition->env, student, where, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

/* With no students the student pipeline is not resolved. */
static enum bw_code resolve_students(const struct definition *definition, struct bw_error *error)
{
    size_t stages = json_array_size(definition->pipelines[JOB_STUDENT]);
    size_t fixed = pipeline_env_bytes(definition->pipelines[JOB_STUDENT], env_bytes(definition->env));
    size_t index;
    json_t *student;
    json_array_foreach (definition->students, index, student) {
        enum bw_code code = check_expanded(fixed + stages * env_bytes(student), pipeline_names[JOB_STUDENT], error);
        if (code == BW_OK)
            code = resolve_pipeline(definition, JOB_STUDENT, student, (long)index, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static enum bw_code check_whole(const struct definition *definition, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (int kind = JOB_PRE; code == BW_OK && kind <= JOB_POST; kind++) {
        const json_t *pipeline = definition->pipelines[kind];
        code = check_synonyms(pipeline, pipeline_names[kind], error);
        if (code != BW_OK || kind == JOB_STUDENT || pipeline == NULL)
            continue;
        code = check_expanded(pipeline_env_bytes(pipeline, env_bytes(definition->env)), pipeline_names[kind], error);
        if (code == BW_OK)
            code = resolve_pipeline(definition, (enum job_kind)kind, NULL, -1, error);
    }
    return code == BW_OK ? resolve_students(definition, error) : code;
}

/* ---- Life. ---- */

static struct definition *take_object(json_t *object, size_t size)
{
    struct definition *definition = calloc(1, sizeof *definition);
    if (definition == NULL)
        return NULL;
    atomic_init(&definition->references, 1);
    definition->object = json_incref(object);
    definition->students = json_object_get(object, "students");
    definition->env = json_object_get(object, "env");
    definition->size = size;
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++) {
        const json_t *pipeline = json_object_get(object, pipeline_names[kind]);
        bool is_job = kind == JOB_STUDENT || json_array_size(pipeline) > 0; /* [] means no such job */
        definition->pipelines[kind] = is_job ? pipeline : NULL;
    }
    return definition;
}

enum bw_code definition_new(json_t *object, const struct definition_limits *limits, struct definition **definition,
                            struct bw_error *error)
{
    enum bw_code code = json_check(object, run_fields, "", limits, error);
    if (code != BW_OK)
        return code;
    struct definition *made = take_object(object, 0);
    if (made == NULL)
        return bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
    code = check_whole(made, error);
    if (code != BW_OK) {
        definition_release(made);
        return code;
    }
    *definition = made;
    return BW_OK;
}

enum bw_code definition_load(const char *text, size_t length, struct definition **definition, struct bw_error *error)
{
    json_t *object;
    enum bw_code code = json_parse(text, length, "the stored grading run", &object, error);
    if (code != BW_OK)
        return code;
    enum { TIMES_TEXT = 6 }; /* parsed, the text takes about so much more */
    struct definition *loaded = take_object(object, length * TIMES_TEXT);
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
    return json_dumps(definition->object, JSON_COMPACT);
}

size_t definition_size(const struct definition *definition)
{
    return sizeof *definition + definition->size;
}

/* ---- What others ask of it. ---- */

static void sum_timeouts(const json_t *pipeline, int64_t *sum_ms, bool *all)
{
    size_t index;
    json_t *stage;
    double sum = 0;
    *all = true;
    json_array_foreach (pipeline, index, stage) {
        const json_t *timeout = json_object_get(stage, "timeout");
        *all = *all && timeout != NULL;
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
        .max_attempts = (int)json_integer_value(json_object_get(definition->object, "max_attempts")),
        .name = json_string_value(json_object_get(definition->object, "name")),
    };
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        sum_timeouts(definition->pipelines[kind], &summary.timeout_ms[kind], &summary.all_timeouts[kind]);
    return summary;
}

/* A copy of the stage whose env is `env`, stolen; in the place where the stage's own stood, else at the end. */
static json_t *stage_with_env(const json_t *stage, json_t *env)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)stage); /* jansson's copy does not change its argument */
    if (copy == NULL || env == NULL || json_object_set_new(copy, "env", env) != 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static json_t *student_of(const struct definition *definition, const struct job_id *job)
{
    return job->kind == JOB_STUDENT ? json_array_get(definition->students, job->index) : NULL;
}

/* The stages with their expanded environments, as a list of NAME=value or as an object. */
static enum bw_code expand_stages(const struct definition *definition, const struct job_id *job, bool as_object,
                                  json_t **stages, struct bw_error *error)
{
    size_t index;
    json_t *stage, *expanded = json_array();
    json_array_foreach (definition->pipelines[job->kind], index, stage) {
        json_t *list;
        enum bw_code code = env_expand(json_object_get(stage, "env"), definition->env, student_of(definition, job),
                                       pipeline_names[job->kind], &list, error);
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

static bool has_job(const struct definition *definition, const struct job_id *job)
{
    if (job->kind == JOB_STUDENT)
        return job->index < json_array_size(definition->students);
    return definition->pipelines[job->kind] != NULL && job->index == 0;
}

enum bw_code definition_job_payload(const struct definition *definition, const struct job_id *job, uint32_t attempt,
                                    char **payload, struct bw_error *error)
{
    char id[JOB_ID_SIZE];
    json_t *stages;
    if (!has_job(definition, job))
        return bw_fail(error, BW_NOT_FOUND, "the grading run has no job '%s'", job_id_format(job, id));
    enum bw_code code = expand_stages(definition, job, false, &stages, error);
    if (code != BW_OK)
        return code;
    json_t *body = json_pack("{s:s,s:i,s:o}", "job_id", job_id_format(job, id), "attempt", (int)attempt, "stages", stages);
    if (job->kind != JOB_STUDENT)
        json_object_set(body, "students", (json_t *)(uintptr_t)definition->students);
    char *text = json_dumps(body, JSON_COMPACT);
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
    if (!has_job(definition, &job) || expand_stages(definition, &job, true, &stages, &unused) != BW_OK)
        return NULL;
    return stages;
}
