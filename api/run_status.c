#include "api/run_status.h"

#include "common/clock.h"

static uint32_t job_count(const struct run *run)
{
    return run_job_count(run->has_pre, run->students, run->has_post);
}

/* Where the students begin. */
static uint32_t first_student(const struct run *run)
{
    return run->has_pre ? 1 : 0;
}

static void count_students(const struct run *run, const struct job_fact *facts,
                           struct run_facts *sum)
{
    const struct job_fact *students = facts + first_student(run);
    for (uint32_t i = 0; i < run->students; i++) {
        sum->students_done += students[i].outcome != OUTCOME_NONE;
        sum->any_cancelled = sum->any_cancelled || students[i].outcome == OUTCOME_CANCELLED;
    }
}

enum run_phase run_status_phase(const struct run *run, const struct job_fact *facts)
{
    if (run_phase_is_over(run->phase))
        return run->phase;
    struct run_facts sum = {
        .has_pre = run->has_pre,
        .has_post = run->has_post,
        .students = run->students,
        .is_started = run->started_ms != 0,
        .is_cancelled = run->cancelled_ms != 0,
        .pre = run->has_pre ? facts[0].outcome : OUTCOME_NONE,
        .post = run->has_post ? facts[job_count(run) - 1].outcome : OUTCOME_NONE,
    };
    sum.any_cancelled = sum.pre == OUTCOME_CANCELLED || sum.post == OUTCOME_CANCELLED;
    count_students(run, facts, &sum);
    return run_phase(&sum);
}

enum status { STATUS_CREATED, STATUS_QUEUED, STATUS_RUNNING, STATUS_FINISHED };

static const char *const status_names[] = {"Created", "Queued", "Running", "Finished"};

static enum status job_status(const struct job_fact *fact, enum run_phase phase, enum job_kind kind)
{
    if (fact->outcome != OUTCOME_NONE || run_phase_is_over(phase))
        return STATUS_FINISHED;
    if (phase != run_phase_of(kind))
        return STATUS_CREATED;
    return fact->is_live ? STATUS_RUNNING : STATUS_QUEUED;
}

/* Never handed out, since its run was over before. */
static bool is_left_over(const struct job_fact *fact, enum run_phase phase)
{
    return fact->outcome == OUTCOME_NONE && run_phase_is_over(phase);
}

static enum job_outcome job_outcome(const struct job_fact *fact, enum run_phase phase)
{
    return is_left_over(fact, phase) ? OUTCOME_CANCELLED : fact->outcome;
}

/* What the grader sent, or why there is nothing of the kind. New reference. */
static json_t *job_result(const struct job_fact *fact, enum run_phase phase)
{
    if (fact->result != NULL)
        return json_incref(fact->result);
    if (!is_left_over(fact, phase))
        return json_null();
    return json_string(phase == RUN_FAILED ? "not run: the job before the students failed"
                                           : "the grading run was cancelled");
}

/* Everything about one answer that its parts need. */
struct answer {
    const struct run *run;
    const struct definition *definition;
    const struct job_fact *facts;
    const struct run_view *view;
    enum run_phase phase;
};

/* {"job_id"[, "stages"], "status", "outcome", "attempts"[, "result"[, "note"]]}; `stages` is
 * stolen, NULL: none. */
static json_t *job_answer(const struct answer *answer, uint32_t slot, json_t *stages)
{
    const struct job_fact *fact = &answer->facts[slot];
    enum job_kind kind;
    uint32_t index;
    char id[JOB_ID_SIZE];
    run_slot_job(answer->run->has_pre, answer->run->students, slot, &kind, &index);
    json_t *job = json_object();
    json_object_set_new(job, "job_id", json_string(job_id_make(answer->run->id, kind, index, id)));
    if (stages != NULL)
        json_object_set_new(job, "stages", stages);
    json_object_set_new(job, "status",
                        json_string(status_names[job_status(fact, answer->phase, kind)]));
    const char *outcome = outcome_name(job_outcome(fact, answer->phase));
    json_object_set_new(job, "outcome", outcome == NULL ? json_null() : json_string(outcome));
    json_object_set_new(job, "attempts", json_integer(fact->attempts));
    if (answer->view->with_results)
        json_object_set_new(job, "result", job_result(fact, answer->phase));
    if (fact->note != NULL)
        json_object_set(job, "note", fact->note);
    return job;
}

static json_t *students_answer(const struct answer *answer)
{
    json_t *students = json_array();
    uint32_t count = answer->run->students, offset = answer->view->offset;
    uint32_t rest = offset < count ? count - offset : 0;
    uint32_t shown = rest < answer->view->limit ? rest : answer->view->limit;
    for (uint32_t i = offset; i < offset + shown; i++) {
        json_t *stages = definition_student_stages(answer->definition, i);
        json_array_append_new(students, job_answer(answer, first_student(answer->run) + i, stages));
    }
    return students;
}

bool run_status_has_queued(const struct run *run, const struct job_fact *facts)
{
    enum run_phase phase = run_status_phase(run, facts);
    for (uint32_t slot = 0; slot < job_count(run); slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->has_pre, run->students, slot, &kind, &index);
        if (job_status(&facts[slot], phase, kind) == STATUS_QUEUED)
            return true;
    }
    return false;
}

static json_t *progress_answer(const struct answer *answer)
{
    uint32_t total = job_count(answer->run), statuses[4] = {0}, outcomes[4] = {0};
    for (uint32_t slot = 0; slot < total; slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(answer->run->has_pre, answer->run->students, slot, &kind, &index);
        statuses[job_status(&answer->facts[slot], answer->phase, kind)]++;
        outcomes[job_outcome(&answer->facts[slot], answer->phase)]++;
    }
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)total, "queued",
        (json_int_t)statuses[STATUS_QUEUED], "running", (json_int_t)statuses[STATUS_RUNNING],
        "succeeded", (json_int_t)outcomes[OUTCOME_SUCCEEDED], "failed",
        (json_int_t)outcomes[OUTCOME_FAILED], "cancelled", (json_int_t)outcomes[OUTCOME_CANCELLED]);
}

static json_t *date_answer(int64_t date_ms)
{
    char text[DATE_TEXT_SIZE];
    return date_ms == 0 ? json_null() : json_string(date_format(date_ms, text));
}

static int64_t finished_date(const struct answer *answer, int64_t last_result_ms)
{
    if (answer->run->finished_ms != 0 || !run_phase_is_over(answer->phase))
        return answer->run->finished_ms;
    return last_result_ms != 0 ? last_result_ms : answer->run->started_ms;
}

json_t *run_status_answer(const struct run *run, const struct definition *definition,
                          const struct job_fact *facts, const struct run_view *view,
                          int64_t last_result_ms, const char *waiting_for)
{
    struct answer answer = {run, definition, facts, view, run_status_phase(run, facts)};
    json_t *object = json_object();
    if (view->with_students)
        json_object_set_new(object, "student_statuses", students_answer(&answer));
    if (run->has_post)
        json_object_set_new(object, "postprocessing_status",
                            job_answer(&answer, job_count(run) - 1, NULL));
    if (run->has_pre)
        json_object_set_new(object, "preprocessing_status", job_answer(&answer, 0, NULL));
    json_object_set_new(object, "state", json_string(run_phase_name(answer.phase)));
    json_object_set_new(object, "created_at", date_answer(run->created_ms));
    json_object_set_new(object, "started_at", date_answer(run->started_ms));
    json_object_set_new(object, "finished_at", date_answer(finished_date(&answer, last_result_ms)));
    json_object_set_new(object, "progress", progress_answer(&answer));
    json_object_set_new(object, "waiting_for",
                        waiting_for == NULL ? json_null() : json_string(waiting_for));
    return object;
}
