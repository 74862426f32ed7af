#include "api/grading/run_status.h"

#include <jansson.h>
#include <stdio.h>

#include "common/base/clock.h"

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

/* What the grader sent, or why there is nothing of the kind. */
static enum bw_code write_result(const struct run_status *status, uint32_t slot,
                                 struct text_buffer *text, struct bw_error *error)
{
    const struct job_fact *fact = &status->facts[slot];
    text_buffer_add_text(text, ",\"result\":");
    if (fact->outcome != OUTCOME_NONE)
        return status->result(status->context, slot, text, error);
    if (!is_left_over(fact, status->phase))
        text_buffer_add_text(text, "null");
    else
        text_buffer_add_text(text, status->phase == RUN_FAILED
                                       ? "\"not run: the job before the students failed\""
                                       : "\"the grading run was cancelled\"");
    return BW_OK;
}

/* {"job_id"[, "stages"], "status", "outcome", "attempts"[, "result"[, "note"]]}; students show
 * their stages. */
static enum bw_code run_status_write_job(const struct run_status *status, uint32_t slot,
                                         struct text_buffer *text, struct bw_error *error)
{
    const struct job_fact *fact = &status->facts[slot];
    enum job_kind kind;
    uint32_t index;
    char id[JOB_ID_SIZE], rest[128];
    run_slot_job(status->run->has_pre, status->run->students, slot, &kind, &index);
    text_buffer_add_text(text, "{\"job_id\":\"");
    text_buffer_add_text(text, job_id_make(status->run->id, kind, index, id));
    text_buffer_add_text(text, "\"");
    if (kind == JOB_STUDENT) {
        text_buffer_add_text(text, ",\"stages\":");
        text_buffer_add_new(text, definition_student_stages(status->definition, index));
    }
    const char *outcome = outcome_name(job_outcome(fact, status->phase)),
               *quote = outcome != NULL ? "\"" : "";
    snprintf(rest, sizeof rest, ",\"status\":\"%s\",\"outcome\":%s%s%s,\"attempts\":%u",
             status_names[job_status(fact, status->phase, kind)], quote,
             outcome != NULL ? outcome : "null", quote, (unsigned)fact->attempts);
    text_buffer_add_text(text, rest);
    enum bw_code code = BW_OK;
    if (status->view.with_results)
        code = write_result(status, slot, text, error);
    text_buffer_add_text(text, "}");
    return code;
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

static json_t *progress_answer(const struct run_status *answer)
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

static int64_t finished_date(const struct run_status *answer)
{
    if (answer->run->finished_ms != 0 || !run_phase_is_over(answer->phase))
        return answer->run->finished_ms;
    return answer->last_result_ms != 0 ? answer->last_result_ms : answer->run->started_ms;
}

/* A job before or after the students, as a member. */
static enum bw_code write_step(const struct run_status *status, const char *key, uint32_t slot,
                               struct text_buffer *text, struct bw_error *error)
{
    text_buffer_add_text(text, "\"");
    text_buffer_add_text(text, key);
    text_buffer_add_text(text, "\":");
    enum bw_code code = run_status_write_job(status, slot, text, error);
    text_buffer_add_text(text, ",");
    return code;
}

static void write_member(struct text_buffer *text, const char *key, json_t *value)
{
    text_buffer_add_text(text, ",\"");
    text_buffer_add_text(text, key);
    text_buffer_add_text(text, "\":");
    text_buffer_add_new(text, value);
}

static enum bw_code run_status_write_end(const struct run_status *status, struct text_buffer *text,
                                         struct bw_error *error)
{
    const struct run *run = status->run;
    enum bw_code code = BW_OK;
    if (status->view.with_students)
        text_buffer_add_text(text, "],");
    if (run->has_post)
        code = write_step(status, "postprocessing_status", job_count(run) - 1, text, error);
    if (code == BW_OK && run->has_pre)
        code = write_step(status, "preprocessing_status", 0, text, error);
    text_buffer_add_text(text, "\"state\":\"");
    text_buffer_add_text(text, run_phase_name(status->phase));
    text_buffer_add_text(text, "\"");
    write_member(text, "created_at", date_answer(run->created_ms));
    write_member(text, "started_at", date_answer(run->started_ms));
    write_member(text, "finished_at", date_answer(finished_date(status)));
    write_member(text, "progress", progress_answer(status));
    if (status->waiting_for != NULL)
        write_member(text, "waiting_for", json_string(status->waiting_for));
    text_buffer_add_text(text, "}");
    return code;
}

static void run_status_write_begin(struct run_status *status, struct text_buffer *text)
{
    const struct run_view *view = &status->view;
    uint32_t count = status->run->students;
    uint32_t rest = view->with_students && view->offset < count ? count - view->offset : 0;
    status->is_begun = true;
    status->phase = run_status_phase(status->run, status->facts);
    status->next = first_student(status->run) + view->offset;
    status->end = status->next + (rest < view->limit ? rest : view->limit);
    text_buffer_add_text(text, view->with_students ? "{\"student_statuses\":[" : "{");
}

enum bw_code run_status_write(struct run_status *status, struct text_buffer *text, bool *is_last,
                              struct bw_error *error)
{
    *is_last = false;
    if (!status->is_begun) {
        run_status_write_begin(status, text);
        return BW_OK;
    }
    *is_last = status->next >= status->end;
    if (*is_last)
        return run_status_write_end(status, text, error);
    if (status->next != first_student(status->run) + status->view.offset)
        text_buffer_add_text(text, ",");
    return run_status_write_job(status, status->next++, text, error);
}
