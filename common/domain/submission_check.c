#include "common/domain/breaker.h"
#include "common/domain/submission_check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/domain/owner_rules.h"
#include "common/domain/run_files.h"
#include "common/domain/run_terms.h"
#include "common/domain/scheduling.h"
#include "common/domain/supersede.h"
#include "common/domain/webhook.h"

enum {
    MAX_STUDENTS = 100000,
    MAX_STAGES = 100,
    MAX_ENV = 1000,
    MAX_ENTRYPOINT = 1000,
    MAX_CPU_DIGITS = 5,
    MAX_TIMEOUT_SECONDS = 7 * 24 * 3600
};

static const char *const pipeline_names[] = {
    [JOB_PRE] = "preprocessing_pipeline",
    [JOB_STUDENT] = "student_pipeline",
    [JOB_POST] = "postprocessing_pipeline",
};

const char *definition_pipeline_name(enum job_kind kind)
{
    return pipeline_names[kind];
}

const json_t *definition_pipeline(const json_t *object, enum job_kind kind)
{
    const json_t *pipeline = json_object_get(object, pipeline_names[kind]);
    bool is_job = kind == JOB_STUDENT || json_array_size(pipeline) > 0; /* [] means no such job */
    return is_job ? pipeline : NULL;
}

/* ---- Tables of fields ---- */

enum bw_code stage_check_privileged(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    const struct submission_limits *limits = context;
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

enum bw_code stage_check_entrypoint(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    size_t index;
    json_t *item;
    (void)context;
    json_array_foreach (value, index, item)
        if (json_string_length(item) >= EXEC_STRING_MAX)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s[%zu]: takes %zu bytes with the NUL at its end, and Linux starts no "
                           "program with more than %d in one argument",
                           path, index, json_string_length(item) + 1, (int)EXEC_STRING_MAX);
    return BW_OK;
}

enum bw_code stage_check_size(const json_t *value, const char *path, const void *context,
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

#define USER_BEGINNING "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

/* A name or number of a user or group, at the beginning of `text`: what is behind it, or NULL if
 * there is none. */
static const char *skip_user_name(const char *text)
{
    if (strspn(text, USER_BEGINNING) == 0)
        return NULL;
    return text + strspn(text, USER_BEGINNING ".-");
}

enum bw_code stage_check_user(const json_t *value, const char *path, const void *context,
                              struct bw_error *error)
{
    (void)context;
    const char *text = skip_user_name(json_string_value(value));
    if (text != NULL && *text == ':')
        text = skip_user_name(text + 1);
    if (text == NULL || *text != '\0')
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s: must be a user, or a user and a group, by name or number, like "
                       "1000:1000 or nobody",
                       path);
    return BW_OK;
}

/* Skips "/NAME" at the beginning of `text`: what is behind it, or NULL if there is none. */
static const char *skip_path_name(const char *text)
{
    if (*text != '/')
        return NULL;
    const char *name = text + 1, *end = name + strspn(name, USER_BEGINNING ".-");
    bool is_dots = strspn(name, ".") == (size_t)(end - name) && end - name <= 2; /* or empty */
    return is_dots ? NULL : end;
}

enum bw_code stage_check_results(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    (void)context;
    const char *text = skip_path_name(json_string_value(value));
    do
        text = text == NULL ? NULL : skip_path_name(text);
    while (text != NULL && *text != '\0');
    if (text == NULL)
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s: must be the path of a file in a directory, of letters, digits, '.', "
                       "'_' and '-', like /job/results.json",
                       path);
    return BW_OK;
}

enum bw_code stage_check_secret_env(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    enum { LONGEST_NAME = 255 };
    size_t index;
    json_t *name;
    char shown[80];
    (void)context;
    json_array_foreach (value, index, name) {
        size_t length = json_string_length(name);
        if (length == 0 || length > LONGEST_NAME || strchr(json_string_value(name), '=') != NULL)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s: '%s' can't be the name of an environment variable: it must have 1 "
                           "to %d bytes, and no '='",
                           path, text_show(json_string_value(name), shown, sizeof shown),
                           (int)LONGEST_NAME);
    }
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

static enum bw_code check_cpuset(const json_t *value, const char *path, const void *context,
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
     .check = run_name_check},
    {.name = "env", .kind = FIELD_ENV, .maximum = MAX_ENV},
    {.name = "entrypoint",
     .kind = FIELD_STRING_LIST,
     .maximum = MAX_ENTRYPOINT,
     .check = stage_check_entrypoint},
    {.name = "enable_networking", .kind = FIELD_BOOLEAN},
    {.name = "networking", .kind = FIELD_BOOLEAN},
    {.name = "host_name",
     .kind = FIELD_STRING,
     .minimum = 1,
     .maximum = HOST_NAME_LONGEST,
     .check = run_name_check},
    {.name = "hostname",
     .kind = FIELD_STRING,
     .minimum = 1,
     .maximum = HOST_NAME_LONGEST,
     .check = run_name_check},
    {.name = "timeout",
     .kind = FIELD_NUMBER,
     .maximum = MAX_TIMEOUT_SECONDS,
     .check = stage_check_timeout},
    {.name = "memory",
     .kind = FIELD_STRING,
     .minimum = 1,
     .maximum = 32,
     .check = stage_check_size},
    {.name = "cpuset_cpus",
     .kind = FIELD_STRING,
     .minimum = 1,
     .maximum = 255,
     .check = check_cpuset},
    STAGE_CONFINEMENT_FIELDS,
    STAGE_RESULTS_FIELD,
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
    RUN_NAME_FIELDS,
    {.name = "max_attempts", .kind = FIELD_INTEGER, .minimum = 1, .maximum = 10},
    {.name = "breaker", .kind = FIELD_ANY, .check = breaker_check},
    {.name = "files", .kind = FIELD_ANY, .check = run_files_check_list},
    {.name = "student_files", .kind = FIELD_ANY, .check = run_files_check_lists},
    {.name = OWNER_RULES_KEY,
     .kind = FIELD_LIST,
     .maximum = OWNER_RULES_MAX,
     .fields = owner_rule_fields},
    SUPERSEDE_FIELDS,
    RUN_SCHEDULING_FIELDS,
    WEBHOOKS_FIELD,
    {.name = NULL},
};

/* ---- Other checks ---- */

/* Two names of one setting: if a stage has both, their values must be equal. */
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

enum bw_code submission_check_fields(const json_t *object, const struct submission_limits *limits,
                                     struct bw_error *error)
{
    return json_check(object, run_fields, "", limits, error);
}

enum bw_code submission_check_synonyms(const json_t *object, enum job_kind kind,
                                       struct bw_error *error)
{
    return check_synonyms(definition_pipeline(object, kind), pipeline_names[kind], error);
}

/* ---- Stored definitions ---- */

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
