#include "common/base/alloc.h"
#include "common/domain/submission_size.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/env.h"
#include "common/domain/exec_size.h"
#include "common/domain/submission_check.h"
#include "common/base/json.h"

enum { WHERE_SIZE = 96 };

/* The size of one entry "NAME=value" of an expanded env, with the comma behind it. */
static size_t entry_bytes(const char *name, const json_t *value)
{
    return strlen(name) + sizeof "=," - 1 +
           json_string_bytes(json_string_value(value), json_string_length(value));
}

/* The size of an expanded env, all of whose values are literal. */
static size_t env_bytes(const json_t *env)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value)
        bytes += entry_bytes(name, value);
    return bytes;
}

/* The size of an env when a program is started with it, if all of it is literal. */
static size_t env_exec_bytes(const json_t *env)
{
    const char *name;
    json_t *value;
    size_t bytes = 0;
    json_object_foreach ((json_t *)(uintptr_t)env, name, value)
        bytes += exec_entry_bytes(name, json_string_length(value));
    return bytes;
}

/* ---- A pipeline's references to the student's env ---- */

struct stage_needs {
    size_t exec_bytes;  /* size for starting its program, without the student's values */
    json_t *references; /* name that the run's env lacks → how often the stage refers to it */
};

/*
 * Computed once per pipeline, so that the time to check 100,000 students depends only on their own
 * envs, not on the number of references.
 */
struct pipeline_needs {
    const json_t *run;  /* its env */
    json_t *references; /* name that the run's env lacks → {"times", "longest": length of the
                           longest name that refers to it} */
    size_t stages;
    size_t empty;             /* stages whose list has only the student's entries */
    size_t bytes;             /* of all stages, without the student's values */
    struct stage_needs *list; /* `stages` of them, owned */
    size_t most_exec_bytes;   /* the largest of their sizes */
};

static void needs_clear(struct pipeline_needs *needs)
{
    json_decref(needs->references);
    for (size_t i = 0; i < needs->stages; i++)
        json_decref(needs->list[i].references);
    free(needs->list);
}

static size_t reference_times(const struct stage_needs *stage, const char *referred)
{
    return (size_t)json_integer_value(json_object_get(stage->references, referred));
}

/* `name` refers to `referred`, which the student must have. False: out of memory. */
static bool needs_note_reference(struct pipeline_needs *needs, const char *name,
                                 const char *referred)
{
    struct stage_needs *stage = &needs->list[needs->stages - 1];
    json_t *times_here = json_integer((json_int_t)reference_times(stage, referred) + 1);
    stage->exec_bytes += exec_entry_bytes(name, 0);
    if (json_object_set_new(stage->references, referred, times_here) != 0)
        return false;
    json_t *noted = json_object_get(needs->references, referred);
    json_int_t length = (json_int_t)strlen(name);
    needs->bytes += strlen(name) + sizeof "=," - 1;
    if (noted == NULL)
        return json_object_set_new(needs->references, referred,
                                   json_pack("{s:i, s:I}", "times", 1, "longest", length)) == 0;
    json_t *times = json_object_get(noted, "times"), *longest = json_object_get(noted, "longest");
    json_integer_set(times, json_integer_value(times) + 1);
    if (length > json_integer_value(longest))
        json_integer_set(longest, length);
    return true;
}

/* An entry of a stage's own env, at `path`. */
static enum bw_code needs_add_entry(struct pipeline_needs *needs, const char *path,
                                    const char *name, const json_t *value, struct bw_error *error)
{
    const char *referred = env_reference(name, json_string_value(value));
    const json_t *found = referred != NULL ? json_object_get(needs->run, referred) : value;
    if (found == NULL)
        return needs_note_reference(needs, name, referred)
                   ? BW_OK
                   : bw_fail(error, BW_INTERNAL, "there is no memory for the grading run");
    needs->bytes += entry_bytes(name, found);
    needs->list[needs->stages - 1].exec_bytes += exec_entry_bytes(name, json_string_length(found));
    return env_check_entry(path, name, json_string_length(found), error);
}

/* The stage as submitted, with its env as a list without the student's entries. */
static enum bw_code needs_add_stage(struct pipeline_needs *needs, const char *path,
                                    const json_t *stage, struct bw_error *error)
{
    const char *name;
    json_t *value, *env = json_object_get(stage, "env");
    struct stage_needs *own = &needs->list[needs->stages++];
    own->references = json_object();
    own->exec_bytes = env_exec_bytes(needs->run) +
                      exec_arguments_bytes(json_object_get(stage, "entrypoint"));
    needs->bytes += json_text_bytes(stage) + sizeof "," - 1;
    if (env != NULL)
        needs->bytes += sizeof "[]" - 1 - json_text_bytes(env);
    else
        needs->bytes += sizeof ",\"env\":[]" - 1;
    if (json_object_size(env) == 0 && json_object_size(needs->run) == 0)
        needs->empty++;
    else
        needs->bytes -= sizeof "," - 1; /* there is none behind the last entry */
    needs->bytes += env_bytes(needs->run);
    json_object_foreach (env, name, value) {
        enum bw_code code = needs_add_entry(needs, path, name, value, error);
        if (code != BW_OK)
            return code;
    }
    if (own->exec_bytes > needs->most_exec_bytes)
        needs->most_exec_bytes = own->exec_bytes;
    return BW_OK;
}

static enum bw_code needs_find(struct pipeline_needs *needs, const json_t *object,
                               enum job_kind kind, struct bw_error *error)
{
    size_t index;
    json_t *stage;
    enum bw_code code = BW_OK;
    const json_t *pipeline = definition_pipeline(object, kind);
    *needs = (struct pipeline_needs){.run = json_object_get(object, "env"),
                                     .references = json_object()};
    needs->list = bw_alloc_array(json_array_size(pipeline) + 1, sizeof *needs->list);
    json_array_foreach (pipeline, index, stage) {
        char path[WHERE_SIZE];
        snprintf(path, sizeof path, "%s[%zu].env", definition_pipeline_name(kind), index);
        code = needs_add_stage(needs, path, stage, error);
        if (code != BW_OK)
            return code;
    }
    needs->bytes += sizeof "[]" - 1;
    if (needs->stages > 0)
        needs->bytes -= sizeof "," - 1;
    return code;
}

/* ---- A job ---- */

/* NULL: it has none. */
static const json_t *submission_size_student_of(const json_t *object, const struct sized_job *job)
{
    return job->kind == JOB_STUDENT
               ? json_array_get(json_object_get(object, "students"), job->student)
               : NULL;
}

/* The stage with about the largest size: the run's and the student's parts are the same in each. */
static size_t find_largest_stage(const json_t *object, const struct sized_job *job)
{
    const json_t *run = json_object_get(object, "env"),
                 *student = submission_size_student_of(object, job);
    size_t index, largest = 0, most = 0;
    json_t *stage, *value;
    const char *name;
    json_array_foreach (definition_pipeline(object, job->kind), index, stage) {
        size_t bytes = json_text_bytes(stage);
        json_object_foreach (json_object_get(stage, "env"), name, value) {
            const char *referred = env_reference(name, json_string_value(value));
            const json_t *found = referred != NULL ? json_object_get(run, referred) : NULL;
            if (referred != NULL && found == NULL)
                found = json_object_get(student, referred);
            bytes += json_string_length(found);
        }
        if (bytes > most) {
            most = bytes;
            largest = index;
        }
    }
    return largest;
}

/* Names the reference of a pipeline that can't be resolved for the student at `index`, or, without
 * students, at all. */
static enum bw_code submission_size_refuse_reference(const json_t *object, enum job_kind kind,
                                                     const json_t *student, size_t index,
                                                     struct bw_error *error)
{
    size_t at;
    json_t *stage;
    enum bw_code code = BW_OK;
    json_array_foreach (definition_pipeline(object, kind), at, stage) {
        char where[WHERE_SIZE];
        int length = snprintf(where, sizeof where, "%s[%zu].env", definition_pipeline_name(kind),
                              at);
        if (student != NULL)
            snprintf(where + length, sizeof where - (size_t)length, ", student %zu", index);
        code = env_resolve(json_object_get(stage, "env"), json_object_get(object, "env"), student,
                           where, error);
        if (code != BW_OK)
            break;
    }
    return code;
}

/* A student's value is assigned to a variable whose name makes the entry too long. */
static enum bw_code refuse_entry(enum job_kind kind, const char *referred, size_t longest,
                                 size_t length, size_t index, struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s, student %zu: a variable that refers to %s takes %zu bytes with its name "
                   "and the NUL at its end, and Linux starts no program with more than %d in one "
                   "entry of its environment",
                   definition_pipeline_name(kind), index, referred, longest + sizeof "=" + length,
                   (int)EXEC_STRING_MAX);
}

/* Checks that each stage's program can be started. `references_bytes`: the size of the student's
 * values in all stages together. The stages are counted one by one only if that might be too large.
 */
static enum bw_code definition_size_check_exec(const json_t *object,
                                               const struct pipeline_needs *needs,
                                               const struct sized_job *job, size_t references_bytes,
                                               struct bw_error *error)
{
    const json_t *student = submission_size_student_of(object, job);
    size_t student_bytes = env_exec_bytes(student);
    if (needs->most_exec_bytes + student_bytes + references_bytes <= EXEC_TOTAL_MAX)
        return BW_OK;
    for (size_t i = 0; i < needs->stages; i++) {
        const char *referred;
        json_t *times;
        size_t bytes = needs->list[i].exec_bytes + student_bytes;
        json_object_foreach (needs->list[i].references, referred, times)
            bytes += (size_t)json_integer_value(times) *
                     json_string_length(json_object_get(student, referred));
        if (bytes > EXEC_TOTAL_MAX)
            return exec_refuse(definition_pipeline_name(job->kind), i, job->kind, job->student,
                               bytes, error);
    }
    return BW_OK;
}

/* Checks that a job's environments resolve, are executable and are not too large. */
static enum bw_code definition_size_check_job(const json_t *object,
                                              const struct pipeline_needs *needs,
                                              struct sized_job *job, struct run_size *size,
                                              struct bw_error *error)
{
    const char *referred;
    json_t *noted;
    const json_t *student = submission_size_student_of(object, job);
    size_t references_bytes = 0;
    job->bytes = needs->bytes + needs->stages * env_bytes(student);
    if (json_object_size(student) > 0)
        job->bytes -= needs->empty;
    json_object_foreach (needs->references, referred, noted) {
        const json_t *value = json_object_get(student, referred);
        size_t longest = (size_t)json_integer_value(json_object_get(noted, "longest")),
               length = json_string_length(value);
        if (value == NULL)
            return submission_size_refuse_reference(object, job->kind, student, job->student,
                                                    error);
        if (longest + sizeof "=" + length > EXEC_STRING_MAX)
            return refuse_entry(job->kind, referred, longest, length, job->student, error);
        size_t times = (size_t)json_integer_value(json_object_get(noted, "times"));
        job->bytes += times * json_string_bytes(json_string_value(value), length);
        references_bytes += times * length;
    }
    if (run_size_add(size, job))
        return definition_size_check_exec(object, needs, job, references_bytes, error);
    return run_size_refuse_job(size, job, definition_pipeline_name(job->kind),
                               find_largest_stage(object, job), error);
}

static enum bw_code check_all(const json_t *object, enum job_kind kind,
                              const struct pipeline_needs *needs, struct run_size *size,
                              struct bw_error *error)
{
    size_t count = kind == JOB_STUDENT ? json_array_size(json_object_get(object, "students")) : 1;
    enum bw_code code = BW_OK;
    for (size_t i = 0; code == BW_OK && i < count; i++)
        code = definition_size_check_job(
            object, needs, &(struct sized_job){.kind = kind, .student = i}, size, error);
    return code;
}

enum bw_code submission_check_jobs(const json_t *object, enum job_kind kind, struct run_size *size,
                                   struct bw_error *error)
{
    struct pipeline_needs needs;
    enum bw_code code = needs_find(&needs, object, kind, error);
    if (code == BW_OK)
        code = check_all(object, kind, &needs, size, error);
    needs_clear(&needs);
    return code;
}

enum bw_code submission_check_size(const json_t *object, const struct run_size *size,
                                   struct bw_error *error)
{
    if (run_size_fits(size))
        return BW_OK;
    return run_size_refuse(size, definition_pipeline_name(size->largest.kind),
                           find_largest_stage(object, &size->largest), error);
}
