#include "common/domain/breaker.h"
#include "common/domain/course_submission_check.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/domain/course_definition.h"
#include "common/domain/owner_rules.h"
#include "common/domain/run_files.h"
#include "common/domain/run_terms.h"
#include "common/domain/scheduling.h"
#include "common/domain/supersede.h"
#include "common/domain/webhook.h"
#include "common/domain/submission_check.h"

enum { MAX_STUDENTS = 100000, MAX_STAGES = 100, MAX_TEXT = 1024, MAX_TIMEOUT_S = 7 * 24 * 3600 };

#define TEXT(key, required)                                                              \
    {                                                                                    \
        .name = key, .kind = FIELD_STRING, .is_required = required, .minimum = required, \
        .maximum = MAX_TEXT                                                              \
    }

/* A name that splits again from its value. Names in a course's env are otherwise free. */
static enum bw_code check_entry_name(const char *path, const char *name, struct bw_error *error)
{
    char shown[80];
    if (name[0] != '\0' && strchr(name, '=') == NULL)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: '%s' can't be the name of an environment variable: it must not be empty or "
                   "contain '='",
                   path, text_show(name, shown, sizeof shown));
}

/* Programs can be started with each entry of an env, an object. */
static enum bw_code check_entries(const json_t *env, const char *path, const void *context,
                                  struct bw_error *error)
{
    const char *name;
    json_t *value;
    (void)context;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value) {
        enum bw_code code = check_entry_name(path, name, error);
        if (code == BW_OK)
            code = env_check_entry(path, name, course_value_length(value), error);
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
    STAGE_CONFINEMENT_FIELDS,
    STAGE_RESULTS_FIELD,
    {.name = "timeout",
     .kind = FIELD_NUMBER,
     .maximum = MAX_TIMEOUT_S,
     .check = stage_check_timeout},
    {.name = NULL},
};

/* A list of stages, or null: json_check accepts null only for values of any kind. */
static enum bw_code check_pipeline(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error)
{
    size_t index;
    json_t *stage;
    if (json_is_null(value))
        return BW_OK;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    if (json_array_size(value) > MAX_STAGES)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d items, not %zu", path,
                       (int)MAX_STAGES, json_array_size(value));
    json_array_foreach (value, index, stage) {
        char at[64];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = json_check(stage, stage_fields, at, context, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static enum bw_code course_submission_check_env(const json_t *value, const char *path,
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
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    if (json_array_size(value) > MAX_STUDENTS)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d items, not %zu", path,
                       (int)MAX_STUDENTS, json_array_size(value));
    json_array_foreach (value, index, env) {
        char at[64];
        if (!json_is_object(env))
            return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: must be an object, not %s", path, index,
                           json_kind_of(env));
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = check_entries(env, at, context, error);
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
    {.name = "env", .kind = FIELD_ANY, .check = course_submission_check_env},
    {.name = OWNER_RULES_KEY,
     .kind = FIELD_LIST,
     .maximum = OWNER_RULES_MAX,
     .fields = owner_rule_fields},
    {.name = NULL},
};

const struct json_field course_run_fields[] = {
    {.name = "students_env", .kind = FIELD_ANY, .is_required = true, .check = check_students},
    {.name = "pre_processing_env", .kind = FIELD_OBJECT, .check = check_entries},
    {.name = "post_processing_env", .kind = FIELD_OBJECT, .check = check_entries},
    {.name = "breaker", .kind = FIELD_ANY, .check = breaker_check},
    {.name = "files", .kind = FIELD_ANY, .check = run_files_check_list},
    {.name = "student_files", .kind = FIELD_ANY, .check = run_files_check_lists},
    RUN_NAME_FIELDS,
    SUPERSEDE_FIELDS,
    RUN_SCHEDULING_FIELDS,
    WEBHOOKS_FIELD,
    {.name = NULL},
};

enum bw_code course_submission_check_steps(const json_t *config, const json_t *run,
                                           struct bw_error *error)
{
    static const enum job_kind steps[] = {JOB_PRE, JOB_POST};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (json_object_get(run, course_env_name(steps[i])) != NULL &&
            course_config_pipeline(config, steps[i]) == NULL)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s is given, but the assignment's config has no %s",
                           course_env_name(steps[i]), course_pipeline_name(steps[i]));
    const struct run_files files = run_files_of(run);
    const json_t *students = json_object_get(run, course_env_name(JOB_STUDENT));
    enum bw_code code = run_files_check_jobs(&files, json_array_size(students), error);
    return code == BW_OK ? supersede_check_run(run, json_array_size(students), error) : code;
}
