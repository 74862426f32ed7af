#include "api/grading/run_status.h"

#include <jansson.h>
#include <stdio.h>

#include "api/grading/student_filter.h"
#include "common/base/date.h"
#include "common/domain/rerun.h"

static uint32_t job_count(const struct run *run)
{
    return run_job_count(run->has_pre, run->students, run->has_post);
}

/* The slot of the first student. */
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
        sum->students_superseded += students[i].outcome == OUTCOME_SUPERSEDED;
        sum->any_cancelled = sum->any_cancelled ||
                             run_cancelled_job(students[i].outcome, students[i].owner);
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

/* Whether the job never ran, since its run was over before. */
static bool is_left_over(const struct job_fact *fact, enum run_phase phase)
{
    return fact->outcome == OUTCOME_NONE && run_phase_is_over(phase);
}

static enum job_outcome job_outcome(const struct job_fact *fact, enum run_phase phase)
{
    if (!is_left_over(fact, phase))
        return fact->outcome;
    return phase == RUN_SUPERSEDED ? OUTCOME_SUPERSEDED : OUTCOME_CANCELLED;
}

const char *run_status_job_state(const struct job_fact *fact, enum run_phase phase,
                                 enum job_kind kind)
{
    return status_names[job_status(fact, phase, kind)];
}

enum job_outcome run_status_job_outcome(const struct job_fact *fact, enum run_phase phase)
{
    return job_outcome(fact, phase);
}

const char *run_status_job_left_over(const struct job_fact *fact, enum run_phase phase)
{
    if (!is_left_over(fact, phase))
        return NULL;
    if (phase == RUN_SUPERSEDED)
        return "the grading run was superseded";
    return phase == RUN_FAILED ? "not run: the job before the students failed"
                               : "the grading run was cancelled";
}

/* Writes the grader's result, or the reason why there is none. */
static enum bw_code write_result(const struct run_status *status, uint32_t slot,
                                 struct text_buffer *text, struct bw_error *error)
{
    const struct job_fact *fact = &status->facts[slot];
    text_buffer_add_text(text, ",\"result\":");
    if (fact->outcome != OUTCOME_NONE)
        return status->result(status->context, slot, text, error);
    const char *reason = run_status_job_left_over(fact, status->phase);
    text_buffer_add_new(text, reason == NULL ? json_null() : json_string(reason));
    return BW_OK;
}

static void write_member(struct text_buffer *text, const char *key, json_t *value)
{
    text_buffer_add_text(text, ",\"");
    text_buffer_add_text(text, key);
    text_buffer_add_text(text, "\":");
    text_buffer_add_new(text, value);
}

/* In a rerun: the student's position in the earlier run. */
static void write_rerun_student(const struct definition *definition, uint32_t index,
                                struct text_buffer *text)
{
    json_t *position = json_array_get(rerun_students(definition), index);
    if (position != NULL)
        write_member(text, "rerun_student", json_incref(position));
}

/* {"job_id"[, "stages"[, "rerun_student"], "student"], "status", "outcome", "attempts"[, "owner"][,
 * "result"[, "note"][, "signature"]]}; students have "stages". */
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
        text_buffer_add_new(text,
                            definition_student_stages(status->definition, status->run->id, index));
        write_rerun_student(status->definition, index, text);
        write_member(text, "student",
                     json_pack("{s:I,s:O?}", "index", (json_int_t)index, "env",
                               definition_student(status->definition, index)));
    }
    const char *outcome = outcome_name(job_outcome(fact, status->phase)),
               *quote = outcome != NULL ? "\"" : "";
    snprintf(rest, sizeof rest, ",\"status\":\"%s\",\"outcome\":%s%s%s,\"attempts\":%u",
             status_names[job_status(fact, status->phase, kind)], quote,
             outcome != NULL ? outcome : "null", quote, (unsigned)fact->attempts);
    text_buffer_add_text(text, rest);
    if (fact->owner != OWNER_UNSAID)
        write_member(text, "owner", json_string(owner_name(fact->owner)));
    enum bw_code code = BW_OK;
    if (status->view.with_results)
        code = write_result(status, slot, text, error);
    text_buffer_add_text(text, "}");
    return code;
}

/* Does any job wait? With `is_returned` those that were returned count alone. */
static bool has_waiting(const struct run *run, const struct job_fact *facts, bool is_returned)
{
    enum run_phase phase = run_status_phase(run, facts);
    for (uint32_t slot = 0; slot < job_count(run); slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->has_pre, run->students, slot, &kind, &index);
        if (job_status(&facts[slot], phase, kind) == STATUS_QUEUED &&
            (!is_returned || facts[slot].is_returned))
            return true;
    }
    return false;
}

bool run_status_has_queued(const struct run *run, const struct job_fact *facts)
{
    return has_waiting(run, facts, false);
}

bool run_status_has_returned(const struct run *run, const struct job_fact *facts)
{
    return has_waiting(run, facts, true);
}

static json_t *progress_answer(const struct run_status *answer)
{
    uint32_t total = job_count(answer->run), statuses[4] = {0}, outcomes[OUTCOMES] = {0};
    for (uint32_t slot = 0; slot < total; slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(answer->run->has_pre, answer->run->students, slot, &kind, &index);
        statuses[job_status(&answer->facts[slot], answer->phase, kind)]++;
        outcomes[job_outcome(&answer->facts[slot], answer->phase)]++;
    }
    json_t *made = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)total, "queued",
        (json_int_t)statuses[STATUS_QUEUED], "running", (json_int_t)statuses[STATUS_RUNNING],
        "succeeded", (json_int_t)outcomes[OUTCOME_SUCCEEDED], "failed",
        (json_int_t)outcomes[OUTCOME_FAILED], "cancelled", (json_int_t)outcomes[OUTCOME_CANCELLED]);
    if (answer->run->has_keys)
        json_object_set_new(made, "superseded", json_integer(outcomes[OUTCOME_SUPERSEDED]));
    return made;
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

/* Writes the job before or after the students as a member. */
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

static void write_reruns(const struct run *run, struct text_buffer *text)
{
    json_t *reruns = json_array();
    for (uint32_t i = 0; i < run->rerun_count; i++)
        json_array_append_new(reruns, json_string(run->reruns[i]));
    write_member(text, "reruns", reruns);
}

void run_status_write_pause(const json_t *paused, struct text_buffer *text)
{
    if (paused != NULL)
        write_member(text, "paused", json_deep_copy(paused));
}

static void run_status_write_scheduling(const struct run *run, struct text_buffer *text)
{
    if (run->run_class != RUN_CLASS_NORMAL)
        write_member(text, "class", json_string(run_class_name(run->run_class)));
    if (run->requires != NULL)
        write_member(text, "requires", worker_tags_list(run->requires));
    if (run->submitter[0] != '\0')
        write_member(text, "submitter", json_string(run->submitter));
}

void run_status_write_links(const struct run *run, struct text_buffer *text)
{
    if (run->name[0] != '\0')
        write_member(text, "name", json_string(run->name));
    if (run->labels != NULL)
        write_member(text, "labels", json_loads(run->labels, 0, NULL));
    run_status_write_scheduling(run, text);
    if (run->rerun_of[0] != '\0')
        write_member(text, "rerun_of", json_string(run->rerun_of));
    if (run->rerun_count > 0)
        write_reruns(run, text);
    if (run->has_drift)
        write_member(text, "drift", json_true());
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
    run_status_write_pause(status->paused, text);
    run_status_write_links(run, text);
    text_buffer_add_text(text, "}");
    return code;
}

/* ---- The students that are wanted ---- */

bool run_view_is_filtered(const struct run_view *view)
{
    return view->outcome != OUTCOME_NONE || view->student != NULL;
}

static bool run_status_wants(const struct run_status *status, uint32_t slot)
{
    const struct run_view *view = &status->view;
    uint32_t index = slot - first_student(status->run);
    if (view->outcome != OUTCOME_NONE &&
        view->outcome != job_outcome(&status->facts[slot], status->phase))
        return false;
    return view->student == NULL ||
           student_filter_admits(view->student, definition_student(status->definition, index),
                                 index);
}

/* Moves on to the next student that is wanted, from `next` on. */
static void run_status_seek(struct run_status *status)
{
    while (status->next < status->end && !run_status_wants(status, status->next))
        status->next++;
    if (status->shown == status->view.limit)
        status->end = status->next;
}

/* Moves on to the first student that is shown. */
static void run_status_seek_first(struct run_status *status)
{
    status->next = first_student(status->run);
    status->end = status->next + (status->view.with_students ? status->run->students : 0);
    run_status_seek(status);
    for (uint32_t i = 0; i < status->view.offset && status->next < status->end; i++) {
        status->next++;
        run_status_seek(status);
    }
}

static void run_status_write_begin(struct run_status *status, struct text_buffer *text)
{
    const struct run_view *view = &status->view;
    status->is_begun = true;
    status->phase = run_status_phase(status->run, status->facts);
    run_status_seek_first(status);
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
    if (status->shown++ > 0)
        text_buffer_add_text(text, ",");
    enum bw_code code = run_status_write_job(status, status->next++, text, error);
    run_status_seek(status);
    return code;
}
