#include "common/definition_shape.h"

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
    MAX_CPU_DIGITS = 5,
    MAX_TIMEOUT_SECONDS = 7 * 24 * 3600,
    MAX_EXPANDED_BYTES = 1024 * 1024, /* of all environments of one job */
    WHERE_SIZE = 96
};

static const char *const pipeline_names[] = {
    [JOB_PRE] = "preprocessing_pipeline",
    [JOB_STUDENT] = "student_pipeline",
    [JOB_POST] = "postprocessing_pipeline",
};

const json_t *definition_pipeline(const json_t *object, enum job_kind kind)
{
    const json_t *pipeline = json_object_get(object, pipeline_names[kind]);
    bool is_job = kind == JOB_STUDENT || json_array_size(pipeline) > 0; /* [] means no such job */
    return is_job ? pipeline : NULL;
}

/* ---- What a table of fields can say. ---- */

static enum bw_code check_name(const json_t *value, const char *path, const void *context,
                               struct bw_error *error)
{
    (void)context;
    for (const unsigned char *at = (const unsigned char *)json_string_value(value); *at != '\0';
         at++)
        if (*at < 0x20 || *at == 0x7F)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}

enum bw_code stage_check_privileged(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    const struct definition_limits *limits = context;
    if (json_is_true(value) && !limits->allow_privileged)
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s: privileged containers are refused here (--allow-privileged is off)",
                       path);
    return BW_OK;
}

enum bw_code stage_check_timeout(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    (void)context;
    if (json_number_value(value) <= 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be more than 0 seconds", path);
    return BW_OK;
}

/* Digits, and perhaps a unit. */
static enum bw_code check_memory(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    (void)context;
    const char *text = json_string_value(value);
    size_t digits = strspn(text, "0123456789"), units = strspn(text + digits, "bkmgBKMG");
    if (digits == 0 || digits > 15 || units > 1 || text[digits + units] != '\0')
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s: must be a number with an optional unit b, k, m or g, like 512m", path);
    return BW_OK;
}

/* N or N-M, at the beginning of `text`: what is behind it, or NULL if there is none. */
static const char *skip_cpu_range(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > MAX_CPU_DIGITS)
        return NULL;
    unsigned long first = strtoul(text, NULL, 10);
    text += digits;
    if (*text != '-')
        return text;
    digits = strspn(++text, "0123456789");
    bool is_range = digits > 0 && digits <= MAX_CPU_DIGITS && strtoul(text, NULL, 10) >= first;
    return is_range ? text + digits : NULL;
}

static enum bw_code check_cpus(const json_t *value, const char *path, const void *context,
                               struct bw_error *error)
{
    (void)context;
    const char *text = json_string_value(value);
    do
        text = skip_cpu_range(text);
    while (text != NULL && *text++ == ',');
    if (text == NULL || text[-1] != '\0')
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list of processors, like 0-2 or 0,1",
                       path);
    return BW_OK;
}

static const struct json_field stage_fields[] = {
    {.name = "image",
     .kind = FIELD_STRING,
     .is_required = true,
     .minimum = 1,
     .maximum = 1024,
     .check = check_name},
    {.name = "env", .kind = FIELD_ENV, .maximum = MAX_ENV},
    {.name = "entrypoint", .kind = FIELD_STRING_LIST, .maximum = MAX_ENTRYPOINT},
    {.name = "enable_networking", .kind = FIELD_BOOLEAN},
    {.name = "networking", .kind = FIELD_BOOLEAN},
    {.name = "host_name", .kind = FIELD_STRING, .minimum = 1, .maximum = 255, .check = check_name},
    {.name = "hostname", .kind = FIELD_STRING, .minimum = 1, .maximum = 255, .check = check_name},
    {.name = "timeout",
     .kind = FIELD_NUMBER,
     .maximum = MAX_TIMEOUT_SECONDS,
     .check = stage_check_timeout},
    {.name = "memory", .kind = FIELD_STRING, .minimum = 1, .maximum = 32, .check = check_memory},
    {.name = "cpuset_cpus",
     .kind = FIELD_STRING,
     .minimum = 1,
     .maximum = 255,
     .check = check_cpus},
    {.name = "privileged", .kind = FIELD_BOOLEAN, .check = stage_check_privileged},
    {.name = "logs", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

#define PIPELINE(key, required)                                                          \
    {                                                                                    \
        .name = key, .kind = FIELD_LIST, .is_required = required, .maximum = MAX_STAGES, \
        .fields = stage_fields                                                           \
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

/* ---- What it can't. ---- */

/* One thing has two names: used both in a stage, they must say the same. */
static enum bw_code check_synonyms(const json_t *pipeline, const char *name, struct bw_error *error)
{
    static const char *const synonyms[][2] = {{"enable_networking", "networking"},
                                              {"host_name", "hostname"}};
    size_t index;
    json_t *stage;
    json_array_foreach (pipeline, index, stage)
        for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++) {
            json_t *one = json_object_get(stage, synonyms[i][0]),
                   *other = json_object_get(stage, synonyms[i][1]);
            if (one != NULL && other != NULL && !json_equal(one, other))
                return bw_fail(error, BW_BAD_REQUEST,
                               "%s[%zu]: '%s' and '%s' mean the same, but differ", name, index,
                               synonyms[i][0], synonyms[i][1]);
        }
    return BW_OK;
}

/* What one entry NAME=value of an expanded env takes. */
static size_t entry_bytes(const char *name, const json_t *value)
{
    return strlen(name) + json_string_length(value) + sizeof "=";
}

/* What an env takes once expanded, if all of it is literal. */
static size_t env_bytes(const json_t *env)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value)
        bytes += entry_bytes(name, value);
    return bytes;
}

/*
 * What a pipeline asks of the student that it is expanded for. Found once per pipeline, so that
 * checking 100,000 students costs what their own envs cost, however often the stages refer to them.
 */
struct pipeline_needs {
    json_t *references; /* name, which the run's env doesn't have → how often it is referred to */
    size_t bytes;       /* what all stages' environments take together, without what comes from the
                           student */
};

static void needs_clear(struct pipeline_needs *needs)
{
    json_decref(needs->references);
}

static bool needs_add(struct pipeline_needs *needs, const json_t *run, const char *name,
                      const json_t *value)
{
    const char *referred = env_reference(name, json_string_value(value));
    if (referred == NULL) {
        needs->bytes += entry_bytes(name, value);
        return true;
    }
    const json_t *found = json_object_get(run, referred);
    needs->bytes += entry_bytes(name, found);
    if (found != NULL)
        return true;
    json_int_t times = json_integer_value(json_object_get(needs->references, referred));
    return json_object_set_new(needs->references, referred, json_integer(times + 1)) == 0;
}

/* False: there is no memory. */
static bool needs_find(struct pipeline_needs *needs, const json_t *pipeline, const json_t *run)
{
    size_t index, run_bytes = env_bytes(run);
    json_t *stage, *value;
    const char *name;
    *needs = (struct pipeline_needs){.references = json_object()};
    if (needs->references == NULL)
        return false;
    json_array_foreach (pipeline, index, stage) {
        needs->bytes += run_bytes;
        json_object_foreach (json_object_get(stage, "env"), name, value)
            if (!needs_add(needs, run, name, value))
                return false;
    }
    return true;
}

/* Adds what comes from `student` (NULL: none). False: a reference can't be resolved. */
static bool needs_meet(const struct pipeline_needs *needs, const json_t *student, size_t stages,
                       size_t *bytes)
{
    const char *name;
    json_t *times;
    *bytes = needs->bytes + stages * env_bytes(student);
    json_object_foreach (needs->references, name, times) {
        const json_t *value = json_object_get(student, name);
        if (value == NULL)
            return false;
        *bytes += (size_t)json_integer_value(times) * json_string_length(value);
    }
    return true;
}

/* Says which reference of a pipeline can't be resolved for the student at `index`, or, with no
 * student, at all. */
static enum bw_code refuse_reference(const json_t *object, enum job_kind kind,
                                     const json_t *student, size_t index, struct bw_error *error)
{
    size_t at;
    json_t *stage;
    enum bw_code code = BW_OK;
    json_array_foreach (definition_pipeline(object, kind), at, stage) {
        char where[WHERE_SIZE];
        int length = snprintf(where, sizeof where, "%s[%zu].env", pipeline_names[kind], at);
        if (student != NULL)
            snprintf(where + length, sizeof where - (size_t)length, ", student %zu", index);
        code = env_resolve(json_object_get(stage, "env"), json_object_get(object, "env"), student,
                           where, error);
        if (code != BW_OK)
            break;
    }
    return code;
}

/* A job's environments: resolved, and not too large. */
static enum bw_code check_job(const json_t *object, enum job_kind kind,
                              const struct pipeline_needs *needs, const json_t *student,
                              size_t index, struct bw_error *error)
{
    size_t bytes;
    char who[WHERE_SIZE] = "";
    if (!needs_meet(needs, student, json_array_size(definition_pipeline(object, kind)), &bytes))
        return refuse_reference(object, kind, student, index, error);
    if (bytes <= MAX_EXPANDED_BYTES)
        return BW_OK;
    if (student != NULL)
        snprintf(who, sizeof who, ", student %zu", index);
    return bw_fail(
        error, BW_BAD_REQUEST,
        "%s%s: the environments of one job take %zu bytes once expanded, at most %d may be",
        pipeline_names[kind], who, bytes, (int)MAX_EXPANDED_BYTES);
}

/* With no students the student pipeline is not resolved: nothing in it is refused for a missing
 * name. */
static enum bw_code check_jobs(const json_t *object, enum job_kind kind, struct bw_error *error)
{
    struct pipeline_needs needs;
    const json_t *students = json_object_get(object, "students");
    enum bw_code code = BW_OK;
    if (!needs_find(&needs, definition_pipeline(object, kind), json_object_get(object, "env")))
        code = bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
    else if (kind != JOB_STUDENT)
        code = check_job(object, kind, &needs, NULL, 0, error);
    else
        for (size_t i = 0; code == BW_OK && i < json_array_size(students); i++)
            code = check_job(object, kind, &needs, json_array_get(students, i), i, error);
    needs_clear(&needs);
    return code;
}

enum bw_code definition_check(const json_t *object, const struct definition_limits *limits,
                              struct bw_error *error)
{
    enum bw_code code = json_check(object, run_fields, "", limits, error);
    for (int kind = JOB_PRE; code == BW_OK && kind <= JOB_POST; kind++) {
        const json_t *pipeline = definition_pipeline(object, (enum job_kind)kind);
        code = check_synonyms(pipeline, pipeline_names[kind], error);
        if (code == BW_OK && pipeline != NULL)
            code = check_jobs(object, (enum job_kind)kind, error);
    }
    return code;
}

/* ---- What is stored. ---- */

static bool is_env(const json_t *env)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value)
        if (!json_is_string(value))
            return false;
    return env == NULL || json_is_object(env);
}

static bool is_pipeline(const json_t *pipeline)
{
    size_t index;
    json_t *stage;
    json_array_foreach (pipeline, index, stage)
        if (!json_is_object(stage) || !is_env(json_object_get(stage, "env")))
            return false;
    return pipeline == NULL || json_is_array(pipeline);
}

bool definition_is_sound(const json_t *object)
{
    size_t index;
    json_t *student;
    const json_t *students = json_object_get(object, "students");
    json_array_foreach (students, index, student)
        if (!json_is_object(student) || !is_env(student))
            return false;
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        if (!is_pipeline(json_object_get(object, pipeline_names[kind])))
            return false;
    return json_is_array(students) &&
           json_is_array(json_object_get(object, pipeline_names[JOB_STUDENT])) &&
           is_env(json_object_get(object, "env"));
}
