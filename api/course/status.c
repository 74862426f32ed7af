#include "api/course/status.h"

#include <stdio.h>

#include "common/domain/course_definition.h"

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

/* ---- The answers ---- */

/* The jobs of each kind, in the order in which they are written. */
static const struct step {
    enum job_kind kind;
    const char *keys[2]; /* by enum course_answer_kind */
} steps[] = {
    {JOB_PRE, {"pre_processing_job_state", "pre_processing_env"}},
    {JOB_POST, {"post_processing_job_state", "post_processing_env"}},
    {JOB_STUDENT, {"student_jobs_state", "student_env"}},
};

enum { STEPS = sizeof steps / sizeof *steps };

/* "KEY": and what begins its value. */
static void write_key(struct text_buffer *text, const char *key, const char *more)
{
    text_buffer_add_text(text, "\"");
    text_buffer_add_text(text, key);
    text_buffer_add_text(text, "\":");
    text_buffer_add_text(text, more);
}

static void course_status_write_job(struct course_answer *answer, enum job_kind kind,
                                    struct text_buffer *text)
{
    struct job_id id = {.kind = kind, .index = answer->index};
    char shown[JOB_ID_SIZE];
    uint32_t slot = first_slot(answer->run, kind) + answer->index;
    snprintf(id.run, sizeof id.run, "%s", answer->run->id);
    if (answer->index++ > 0)
        text_buffer_add_text(text, ",");
    write_key(text, job_id_format(&id, shown), "");
    if (answer->kind == COURSE_ANSWER_STATUS)
        text_buffer_add_new(text, json_string(job_state(&answer->facts[slot])));
    else
        text_buffer_add_new(text, course_job_env(definition_object(answer->definition), &id));
}

/* What has begun is asked once for each step, not for each job: it looks at all of them. */
static void begin_step(struct course_answer *answer)
{
    enum job_kind kind = steps[answer->step].kind;
    bool is_shown = has_begun(answer->run, answer->facts, answer->phase, kind);
    answer->count = is_shown ? slot_count(answer->run, kind) : 0;
    answer->index = 0;
}

static void course_status_write_begin(struct course_answer *answer, struct text_buffer *text)
{
    answer->is_begun = true;
    answer->phase = run_status_phase(answer->run, answer->facts);
    begin_step(answer);
    text_buffer_add_text(text, "{");
    if (answer->kind != COURSE_ANSWER_STATUS)
        return;
    write_key(text, "state", "\"");
    text_buffer_add_text(text, course_run_state(answer->phase));
    text_buffer_add_text(text, "\",");
}

/* Of what has not begun there is nothing, or an empty object. */
static void write_nothing(enum job_kind kind, const char *key, struct text_buffer *text)
{
    write_key(text, key, kind == JOB_STUDENT ? "{}" : "null");
}

static void course_status_write_end(const struct course_answer *answer, struct text_buffer *text)
{
    if (answer->waiting_for != NULL) {
        text_buffer_add_text(text, ",");
        write_key(text, "waiting_for", "");
        text_buffer_add_new(text, json_string(answer->waiting_for));
    }
    text_buffer_add_text(text, "}");
}

bool course_answer_write(struct course_answer *answer, struct text_buffer *text)
{
    if (!answer->is_begun)
        course_status_write_begin(answer, text);
    const struct step *step = &steps[answer->step];
    const char *key = step->keys[answer->kind];
    if (answer->count == 0)
        write_nothing(step->kind, key, text);
    else if (answer->index == 0)
        write_key(text, key, "{");
    if (answer->index < answer->count)
        course_status_write_job(answer, step->kind, text);
    if (answer->index < answer->count)
        return false;
    if (answer->count > 0)
        text_buffer_add_text(text, "}");
    if (++answer->step == STEPS) {
        course_status_write_end(answer, text);
        return true;
    }
    text_buffer_add_text(text, ",");
    begin_step(answer);
    return false;
}
