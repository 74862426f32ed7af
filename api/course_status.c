#include "api/course_status.h"

#include <stdio.h>

#include "common/course_definition.h"

static const char *const run_states[] = {
    [RUN_CREATED] = "ready to be started",
    [RUN_PRE] = "pre processing job has been scheduled",
    [RUN_STUDENTS] = "students grading jobs have been scheduled",
    [RUN_POST] = "post processing job has been scheduled",
    [RUN_FINISHED] = "grading run is complete",
    [RUN_FAILED] = "grading run failed",
    [RUN_CANCELLED] = "grading run was cancelled",
};

const char *course_run_state(enum run_phase phase)
{
    return run_states[phase];
}

static uint32_t first_slot(const struct run *run, enum job_kind kind)
{
    uint32_t students = run->has_pre ? 1 : 0;
    return kind == JOB_PRE ? 0 : kind == JOB_STUDENT ? students : students + run->students;
}

/* How many jobs of that kind there are once their step has begun. */
static uint32_t slot_count(const struct run *run, enum job_kind kind)
{
    return kind == JOB_STUDENT ? run->students : kind == JOB_PRE ? run->has_pre : run->has_post;
}

static bool was_touched(const struct run *run, const struct job_fact *facts, enum job_kind kind)
{
    uint32_t first = first_slot(run, kind), count = slot_count(run, kind);
    for (uint32_t slot = first; slot < first + count; slot++)
        if (facts[slot].attempts > 0 ||
            (facts[slot].outcome != OUTCOME_NONE && facts[slot].outcome != OUTCOME_CANCELLED))
            return true;
    return false;
}

/* Has the step of these jobs begun? One that a failure or a cancellation kept from it has not. */
static bool has_begun(const struct run *run, const struct job_fact *facts, enum run_phase phase,
                      enum job_kind kind)
{
    if (slot_count(run, kind) == 0 || phase == RUN_CREATED)
        return false;
    if (phase == RUN_CANCELLED)
        return was_touched(run, facts, kind);
    if (phase == RUN_FAILED && run->has_pre && facts[0].outcome != OUTCOME_SUCCEEDED)
        return kind == JOB_PRE;
    return phase >= RUN_FINISHED || run_phase_of(kind) <= phase;
}

static const char *job_state(const struct job_fact *fact)
{
    if (fact->outcome == OUTCOME_SUCCEEDED)
        return "grading job was successful";
    if (fact->outcome != OUTCOME_NONE)
        return "grading job failed";
    return fact->is_live ? "grading job is running" : "grading job has been scheduled";
}

/* What a job shows, in either answer; new reference. */
typedef json_t *show_job(const struct job_id *job, const struct job_fact *fact,
                         const struct definition *definition);

static json_t *show_state(const struct job_id *job, const struct job_fact *fact,
                          const struct definition *definition)
{
    (void)job, (void)definition;
    return json_string(job_state(fact));
}

static json_t *show_env(const struct job_id *job, const struct job_fact *fact,
                        const struct definition *definition)
{
    (void)fact;
    return course_job_env(definition_object(definition), job);
}

/* {job id: ...} of all jobs of a kind. */
static json_t *show_jobs(const struct run *run, const struct definition *definition,
                         const struct job_fact *facts, enum job_kind kind, show_job *show)
{
    bool is_shown = has_begun(run, facts, run_status_phase(run, facts), kind);
    if (!is_shown && kind != JOB_STUDENT)
        return json_null();
    json_t *jobs = json_object();
    uint32_t count = is_shown ? slot_count(run, kind) : 0;
    struct job_id id = {.kind = kind};
    snprintf(id.run, sizeof id.run, "%s", run->id);
    for (uint32_t i = 0; i < count; i++) {
        char text[JOB_ID_SIZE];
        id.index = i;
        json_object_set_new(jobs, job_id_format(&id, text),
                            show(&id, &facts[first_slot(run, kind) + i], definition));
    }
    return jobs;
}

json_t *course_status_answer(const struct run *run, const struct job_fact *facts,
                             const char *waiting_for)
{
    json_t *status = json_pack(
        "{s:s,s:o,s:o,s:o}", "state", course_run_state(run_status_phase(run, facts)),
        "pre_processing_job_state", show_jobs(run, NULL, facts, JOB_PRE, show_state),
        "post_processing_job_state", show_jobs(run, NULL, facts, JOB_POST, show_state),
        "student_jobs_state", show_jobs(run, NULL, facts, JOB_STUDENT, show_state));
    if (waiting_for != NULL)
        json_object_set_new(status, "waiting_for", json_string(waiting_for));
    return status;
}

json_t *course_env_answer(const struct run *run, const struct definition *definition,
                          const struct job_fact *facts)
{
    return json_pack("{s:o,s:o,s:o}", "pre_processing_env",
                     show_jobs(run, definition, facts, JOB_PRE, show_env), "post_processing_env",
                     show_jobs(run, definition, facts, JOB_POST, show_env), "student_env",
                     show_jobs(run, definition, facts, JOB_STUDENT, show_env));
}
