#include "common/base/alloc.h"
#include "common/domain/course_submission_size.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/course_definition.h"
#include "common/domain/exec_size.h"
#include "common/domain/job.h"
#include "common/domain/job_size.h"

static const char job_id_name[] = "GRADING_JOB_ID", run_id_name[] = "GRADING_RUN_ID";

/*
 * The size of a pipeline's stages without the job's env. An entry of the job's env replaces the
 * stages' entries of the same name: `bases` has the size of these in all stages together, so the
 * time per student depends only on the student's own env, not on the number of stages.
 */
struct course_base {
    json_t *bases; /* name → bytes, in all stages together */
    size_t stages;
    size_t largest_stage, largest_bytes;
    uint64_t bytes;
    size_t *exec_bytes; /* by stage: size for starting its program, without the job's env */
    size_t most_exec_bytes;
};

/* The size of "NAME":value, */
static size_t member_bytes(const char *name, const json_t *value)
{
    return json_string_bytes(name, strlen(name)) + sizeof ":," - 1 + json_text_bytes(value);
}

static size_t base_of(const struct course_base *base, const char *name)
{
    return (size_t)json_integer_value(json_object_get(base->bases, name));
}

/* Adds to the size of `name` in all stages. */
static void base_add(struct course_base *base, const char *name, int64_t more)
{
    json_int_t bytes = (json_int_t)base_of(base, name) + more;
    if (json_object_set_new(base->bases, name, json_integer(bytes)) == 0)
        base->bytes += (uint64_t)more; /* modulo 2^64: `more` may be negative */
}

/* The size of an env before a job's env is merged. The job's id is counted with the job. */
static void add_config_env(struct course_base *base, const json_t *env)
{
    const char *name;
    json_t *value;
    int64_t stages = (int64_t)base->stages;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value)
        if (strcmp(name, job_id_name) != 0 && strcmp(name, run_id_name) != 0)
            base_add(base, name, stages * (int64_t)member_bytes(name, value));
    base_add(base, run_id_name,
             stages * (int64_t)(sizeof "\"GRADING_RUN_ID\":\"\"," - 1 + RUN_ID_LENGTH));
}

/* Adds a stage's own env. Its entries replace those that all stages have; `common` is the size of
 * the latter. */
static size_t add_stage_env(struct course_base *base, const json_t *common, const json_t *env)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value) {
        if (strcmp(name, job_id_name) == 0)
            continue;
        size_t own = member_bytes(name, value);
        int64_t replaced = (int64_t)json_integer_value(json_object_get(common, name));
        base_add(base, name, (int64_t)own - replaced / (int64_t)base->stages);
        bytes += own;
    }
    return bytes;
}

static void add_stage(struct course_base *base, const json_t *common, const json_t *stage,
                      size_t index)
{
    const json_t *env = json_object_get(stage, "env");
    size_t text = json_text_bytes(stage) + sizeof "," - 1;
    if (env != NULL)
        text += sizeof "{}" - 1 - json_text_bytes(env);
    else
        text += sizeof ",\"env\":{}" - 1;
    base->bytes += text - (sizeof "," - 1); /* none behind the last entry */
    text += add_stage_env(base, common, env);
    if (text > base->largest_bytes) {
        base->largest_bytes = text;
        base->largest_stage = index;
    }
}

/* ---- Starting programs ---- */

/* The size of the entry `name` in a stage's env before the job's env is merged; 0: there is none.
 */
static size_t exec_bytes_of(const json_t *config_env, const json_t *stage_env, const char *name)
{
    const json_t *value = json_object_get(stage_env, name);
    if (value == NULL && strcmp(name, run_id_name) == 0)
        return exec_entry_bytes(name, RUN_ID_LENGTH);
    if (value == NULL)
        value = json_object_get(config_env, name);
    return value != NULL ? exec_entry_bytes(name, course_value_length(value)) : 0;
}

/* The size that the entries of `more` add to a stage's, some of which they replace: modulo SIZE_MAX
 * + 1. The job's id is counted with all stages. */
static size_t exec_bytes_added(const json_t *config_env, const json_t *stage_env,
                               const json_t *more)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;
    json_object_foreach ((json_t *)(uintptr_t)more, name, value)
        if (strcmp(name, job_id_name) != 0)
            bytes += exec_entry_bytes(name, course_value_length(value)) -
                     exec_bytes_of(config_env, stage_env, name);
    return bytes;
}

static void base_find_exec(struct course_base *base, const json_t *pipeline,
                           const json_t *config_env)
{
    size_t index;
    json_t *stage;
    const char *name;
    json_t *value;
    size_t common = exec_entry_bytes(run_id_name, RUN_ID_LENGTH) +
                    exec_entry_bytes(job_id_name, JOB_ID_LENGTH);
    json_object_foreach ((json_t *)(uintptr_t)config_env, name, value)
        if (strcmp(name, job_id_name) != 0 && strcmp(name, run_id_name) != 0)
            common += exec_entry_bytes(name, course_value_length(value));
    base->exec_bytes = bw_alloc_array(base->stages + 1, sizeof *base->exec_bytes);
    json_array_foreach (pipeline, index, stage) {
        base->exec_bytes[index] = common +
                                  exec_arguments_bytes(json_object_get(stage, "entrypoint")) +
                                  exec_bytes_added(config_env, NULL, json_object_get(stage, "env"));
        if (base->exec_bytes[index] > base->most_exec_bytes)
            base->most_exec_bytes = base->exec_bytes[index];
    }
}

/* Checks that each stage's program can be started. The stages are counted one by one only if the
 * job's env might be too large. */
static enum bw_code course_size_check_exec(const json_t *object, const struct course_base *base,
                                           const struct sized_job *job, struct bw_error *error)
{
    const json_t *env = course_definition_job_env(object, job->kind, job->student),
                 *config_env = json_object_get(json_object_get(object, "config"), "env");
    size_t index;
    json_t *stage;
    size_t most = base->most_exec_bytes + exec_bytes_added(NULL, NULL, env) +
                  exec_entry_bytes(run_id_name, RUN_ID_LENGTH); /* if the env replaces this entry */
    if (most <= EXEC_TOTAL_MAX)
        return BW_OK;
    json_array_foreach (course_definition_pipeline(object, job->kind), index, stage) {
        size_t bytes = base->exec_bytes[index] +
                       exec_bytes_added(config_env, json_object_get(stage, "env"), env);
        if (bytes > EXEC_TOTAL_MAX)
            return exec_refuse(course_pipeline_name(job->kind), index, job->kind, job->student,
                               bytes, error);
    }
    return BW_OK;
}

/* ---- Jobs ---- */

/* False: out of memory. */
static bool base_find(struct course_base *base, const json_t *object, enum job_kind kind)
{
    const json_t *pipeline = course_definition_pipeline(object, kind),
                 *config = json_object_get(object, "config");
    size_t index;
    json_t *stage;
    *base = (struct course_base){.bases = json_object(), .stages = json_array_size(pipeline)};
    if (base->stages > 0)
        add_config_env(base, json_object_get(config, "env"));
    json_auto_t *common = json_deep_copy(base->bases);
    json_array_foreach (pipeline, index, stage)
        add_stage(base, common, stage, index);
    base_find_exec(base, pipeline, json_object_get(config, "env"));
    base->bytes += base->stages * (sizeof "\"GRADING_JOB_ID\":\"\"," - 1 + JOB_ID_LENGTH);
    base->bytes += sizeof "[]" - 1;
    if (base->stages > 0)
        base->bytes -= sizeof "," - 1;
    return base->bases != NULL && common != NULL;
}

static uint64_t job_bytes(const struct course_base *base, const json_t *env)
{
    const char *name;
    json_t *value;
    uint64_t bytes = base->bytes;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value)
        if (strcmp(name, job_id_name) != 0)
            bytes += base->stages * member_bytes(name, value) - base_of(base, name);
    return bytes;
}

static enum bw_code check_jobs(const json_t *object, enum job_kind kind,
                               const struct course_base *base, struct run_size *size,
                               struct bw_error *error)
{
    bool is_student = kind == JOB_STUDENT;
    size_t count = is_student ? json_array_size(course_definition_students(object)) : 1;
    for (size_t i = 0; i < count; i++) {
        struct sized_job job = {.kind = kind, .student = i};
        job.bytes = job_bytes(base, course_definition_job_env(object, kind, i));
        if (!run_size_add(size, &job))
            return run_size_refuse_job(size, &job, course_pipeline_name(kind), base->largest_stage,
                                       error);
        enum bw_code code = course_size_check_exec(object, base, &job, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

enum bw_code course_submission_check_size(const json_t *object,
                                          const struct submission_limits *limits,
                                          struct bw_error *error)
{
    struct run_size size = {.limits = limits};
    size_t largest_stages[JOB_POST + 1] = {0};
    enum bw_code code = BW_OK;
    for (int kind = JOB_PRE; code == BW_OK && kind <= JOB_POST; kind++) {
        struct course_base base;
        if (course_definition_pipeline(object, (enum job_kind)kind) == NULL)
            continue;
        code = base_find(&base, object, (enum job_kind)kind)
                   ? check_jobs(object, (enum job_kind)kind, &base, &size, error)
                   : bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
        largest_stages[kind] = base.largest_stage;
        json_decref(base.bases);
        free(base.exec_bytes);
    }
    if (code != BW_OK || run_size_fits(&size))
        return code;
    return run_size_refuse(&size, course_pipeline_name(size.largest.kind),
                           largest_stages[size.largest.kind], error);
}
