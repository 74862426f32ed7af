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
    [RUN_SUPERSEDED] = "grading run was superseded",
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

/* The number of jobs of this kind once their step has begun. */
static uint32_t slot_count(const struct run *run, enum job_kind kind)
{
    return kind == JOB_STUDENT ? run->students : kind == JOB_PRE ? run->has_pre : run->has_post;
}

static bool was_touched(const struct run *run, const struct job_fact *facts, enum job_kind kind)
{
    uint32_t first = first_slot(run, kind), count = slot_count(run, kind);
    for (uint32_t slot = first; slot < first + count; slot++)
        if (facts[slot].attempts > 0 ||
            (facts[slot].outcome != OUTCOME_NONE && facts[slot].outcome < OUTCOME_CANCELLED))
            return true;
    return false;
}

/* Whether the step of these jobs has begun. A step that was skipped because of a failure or a
 * cancellation has not. */
static bool has_begun(const struct run *run, const struct job_fact *facts, enum run_phase phase,
                      enum job_kind kind)
{
    if (slot_count(run, kind) == 0 || phase == RUN_CREATED)
        return false;
    if (phase == RUN_SUPERSEDED && kind == JOB_STUDENT)
        return true;
    if (phase == RUN_CANCELLED || phase == RUN_SUPERSEDED)
        return was_touched(run, facts, kind);
    if (phase == RUN_FAILED && run->has_pre && facts[0].outcome != OUTCOME_SUCCEEDED)
        return kind == JOB_PRE;
    return phase >= RUN_FINISHED || run_phase_of(kind) <= phase;
}

const char *course_job_outcome_state(enum job_outcome outcome)
{
    static const char *const states[] = {
        [OUTCOME_NONE] = "grading job has been scheduled",
        [OUTCOME_SUCCEEDED] = "grading job was successful",
        [OUTCOME_FAILED] = "grading job failed",
        [OUTCOME_CANCELLED] = "grading job failed",
        [OUTCOME_SUPERSEDED] = "grading job failed",
    };
    return states[outcome];
}

static const char *job_state(const struct job_fact *fact)
{
    if (fact->outcome == OUTCOME_NONE && fact->is_live)
        return "grading job is running";
    return course_job_outcome_state(fact->outcome);
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

/* Writes "KEY": and the beginning of its value. */
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

/* Begins a step. has_begun is called once for each step, not for each job, since it may read the
 * facts of all jobs. */
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

/* Writes the value of a step that has not begun. */
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
    run_status_write_pause(answer->paused, text);
    if (answer->kind == COURSE_ANSWER_STATUS)
        run_status_write_links(answer->run, text);
    text_buffer_add_text(text, "}");
}

/* The next slot from `slot` on of a job whose failure is the infrastructure's fault; the number of
 * jobs: there is none. */
static uint32_t next_owned(const struct course_answer *answer, uint32_t slot)
{
    const struct run *run = answer->run;
    uint32_t count = run_job_count(run->has_pre, run->students, run->has_post);
    while (slot < count && answer->facts[slot].owner != OWNER_INFRASTRUCTURE)
        slot++;
    return slot;
}

/* One more of "owners". False: there are no more. */
static bool course_status_write_owner(struct course_answer *answer, struct text_buffer *text)
{
    const struct run *run = answer->run;
    uint32_t slot = next_owned(answer, answer->index);
    if (answer->kind != COURSE_ANSWER_STATUS ||
        slot == run_job_count(run->has_pre, run->students, run->has_post))
        return false;
    char id[JOB_ID_SIZE];
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->has_pre, run->students, slot, &kind, &index);
    text_buffer_add_text(text, ",");
    if (!answer->has_owners)
        write_key(text, "owners", "{");
    write_key(text, job_id_make(run->id, kind, index, id), "");
    text_buffer_add_new(text, json_string(owner_name(answer->facts[slot].owner)));
    answer->has_owners = true;
    answer->index = slot + 1;
    return true;
}

/* Behind the steps. True: that was the end. */
static bool course_status_write_rest(struct course_answer *answer, struct text_buffer *text)
{
    if (course_status_write_owner(answer, text))
        return false;
    if (answer->has_owners)
        text_buffer_add_text(text, "}");
    course_status_write_end(answer, text);
    return true;
}

bool course_answer_write(struct course_answer *answer, struct text_buffer *text)
{
    if (!answer->is_begun)
        course_status_write_begin(answer, text);
    if (answer->step == STEPS)
        return course_status_write_rest(answer, text);
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
        answer->index = 0;
        return course_status_write_rest(answer, text);
    }
    text_buffer_add_text(text, ",");
    begin_step(answer);
    return false;
}
