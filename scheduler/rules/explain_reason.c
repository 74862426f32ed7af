#include "scheduler/rules/explain_reason.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "common/base/date.h"
#include "scheduler/rules/pausing.h"

enum { LISTED_NAMES = 20 };

/* A sentence that says what is so, and one that says what would change it. */
struct reason_text {
    const char *detail, *changes_when;
};

/* ---- The sentences ---- */

/* Of a job. A detail that ends with a colon is followed by the number of graders. */
static const struct reason_text of_job[WAIT_REASONS] = {
    [WAIT_LEADER_STOPPING] = {"the leading scheduler is shutting down", "another scheduler leads"},
    [WAIT_LEADER_STARTING] = {"a new leader waits for the word of the replicas",
                              "all replicas have answered it, or its wait of two seconds is over"},
    [WAIT_CANCELLED] = {"the run was cancelled: the job is about to end",
                        "the end of the job is stored"},
    [WAIT_SUPERSEDED] = {"a newer job with the same supersede key counts: this one is about to end",
                         "the end of the job is stored"},
    [WAIT_PAUSED] = {NULL, "the pause is ended, or its time-out passes"},
    [WAIT_PRE_NOT_DONE] = {"the job before the students has no result yet",
                           "the job before the students succeeds"},
    [WAIT_STUDENTS_NOT_DONE] = {NULL, "all students' jobs of the run have a result"},
    [WAIT_NO_STAGES] = {"it has no stages: it is handed to no grader", "its result is stored"},
    [WAIT_HANDING_OUT] = {"it is being handed out: its lease is being stored",
                          "the lease is stored"},
    [WAIT_ATTEMPT_ENDING] = {"its last attempt has ended, which is being stored",
                             "the end of the attempt is stored"},
    [WAIT_RETRY_NOT_DUE] = {NULL, "that time is over"},
    [WAIT_PUT_OFF] = {NULL, "that time is over"},
    [WAIT_COURSE_LIMIT] = {NULL, "a job of the course ends, or its limit max_running is raised"},
    [WAIT_NO_GRADER] = {NULL, "a grader of this protocol registers, polls or sends a heartbeat"},
    [WAIT_TAGS_MISSING] = {NULL, "a grader that has all of these tags registers"},
    [WAIT_RESERVED] = {"graders that have its tags and are reserved for other jobs:",
                       "a grader registers that is not reserved, or a reservation is ended or "
                       "allows the job's course and class"},
    [WAIT_RETURNED] = {"graders that could run it and have returned it lately:",
                       "that time is over, or another grader asks for a job"},
    [WAIT_JOBS_AHEAD] = {NULL, "those jobs are handed out, or end otherwise"},
    [WAIT_SHARE_USED_UP] = {NULL, "those courses have had as much of their share, or the course's "
                                  "weight is raised"},
    [WAIT_GRADER_DEAD] = {"graders of its protocol that are dead:",
                          "one of them polls or sends a heartbeat"},
    [WAIT_GRADER_FAULTY] = {"graders that could run it and say that they have a fault:",
                            "the fault of one of them ends, and it asks for a job"},
    [WAIT_GRADER_PAUSED] = {"graders that could run it and are paused:",
                            "the pause of one of them is ended, or its time-out passes"},
    [WAIT_GRADER_FAILING] = {"graders that could run it and are paused since they failed each job:",
                             "their minute is over, or one of them is resumed"},
    [WAIT_GRADER_UNCONFIRMED] = {"graders that could run it and may not have received a job of "
                                 "theirs yet:",
                                 "it is known where that job is"},
    [WAIT_GRADER_FULL] = {"graders that could run it and hold as many jobs as they take:",
                          "one of them reports a result, and asks for a job"},
    [WAIT_GRADER_NOT_ASKING] = {"graders that could run it and do not ask for a job:",
                                "one of them asks for a job"},
    [WAIT_REPLICA_SILENT] = {"graders that could run it and ask at a replica that does not answer:",
                             "the replica answers the scheduler again, or one of them asks at "
                             "another one"},
    [WAIT_READY] = {"nothing prevents it", "it is handed out now"},
};

/* Of a grader: about itself. */
static const struct reason_text of_grader[WAIT_REASONS] = {
    [WAIT_LEADER_STOPPING] = {"the leading scheduler is shutting down", "another scheduler leads"},
    [WAIT_LEADER_STARTING] = {"a new leader waits for the word of the replicas",
                              "all replicas have answered it, or its wait of two seconds is over"},
    [WAIT_GRADER_DEAD] = {NULL, "it polls or sends a heartbeat"},
    [WAIT_GRADER_FAULTY] = {NULL, "its fault ends, and it asks for a job"},
    [WAIT_GRADER_PAUSED] = {NULL, "the pause is ended, or its time-out passes"},
    [WAIT_GRADER_FAILING] = {NULL, "that time is over, or it is resumed"},
    [WAIT_GRADER_UNCONFIRMED] = {"it may not have received a job of its own yet, which goes first",
                                 "it is known where that job is"},
    [WAIT_GRADER_FULL] = {NULL, "it reports the result of a job, or returns one"},
    [WAIT_GRADER_NOT_ASKING] = {"no poll of it waits", "it asks for a job"},
    [WAIT_REPLICA_SILENT] = {"the replica at which it asks does not answer the scheduler",
                             "that replica answers again, or it asks at another one"},
    [WAIT_NO_JOB] = {"no job of its protocol waits", "a run of its protocol is started"},
    [WAIT_READY] = {"nothing prevents it", "a job is handed to it now"},
};

/* Of a grader: about the jobs that wait. Each detail is followed by their number. */
static const struct reason_text of_waiting_jobs[WAIT_REASONS] = {
    [WAIT_CANCELLED] = {"waiting jobs whose run was cancelled:", "another run is started"},
    [WAIT_SUPERSEDED] = {"waiting jobs that are superseded:", "another run is started"},
    [WAIT_PAUSED] = {"waiting jobs of paused runs:", "one of the pauses is ended, or passes"},
    [WAIT_PRE_NOT_DONE] = {"waiting jobs of students whose run's first job is not done:",
                           "the first job of such a run succeeds"},
    [WAIT_STUDENTS_NOT_DONE] = {"waiting last jobs of runs whose students are not done:",
                                "the students' jobs of such a run have results"},
    [WAIT_NO_STAGES] = {"waiting jobs without stages:", "another run is started"},
    [WAIT_HANDING_OUT] = {"waiting jobs that are being handed out:", "another run is started"},
    [WAIT_ATTEMPT_ENDING] = {"waiting jobs whose last attempt is ending:", "its end is stored"},
    [WAIT_RETRY_NOT_DUE] = {"waiting jobs whose next attempt is not due:", "one of them is due"},
    [WAIT_PUT_OFF] = {"waiting jobs that those who waited had returned:", "one of them is due"},
    [WAIT_COURSE_LIMIT] = {"waiting jobs of courses that run as many as they may:",
                           "a job of such a course ends, or its limit max_running is raised"},
    [WAIT_TAGS_MISSING] = {"waiting jobs that require tags which it does not have:",
                           "it registers with these tags, or a run that requires less is started"},
    [WAIT_RESERVED] = {"waiting jobs that its reservations do not allow:",
                       "its reservation is ended, or a run that it allows is started"},
    [WAIT_RETURNED] = {"waiting jobs that it has returned lately:", "that time is over"},
};

/* ---- What belongs to a reason ---- */

static void explain_set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static void explain_set_number(json_t *object, const char *key, int64_t number)
{
    explain_set(object, key, json_integer((json_int_t)number));
}

static void explain_say(json_t *object, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void explain_say(json_t *object, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    explain_set(object, "detail", json_vsprintf(format, values));
    va_end(values);
}

/* `left_ms` as "retry_in_ms"; 0 if it is over. */
static int64_t explain_retry(json_t *object, int64_t left_ms)
{
    int64_t retry_ms = left_ms > 0 ? left_ms : 0;
    explain_set_number(object, "retry_in_ms", retry_ms);
    return retry_ms;
}

/* Adds the pause, and says who made it. `what`: "the run", "it". */
static void explain_pause(json_t *object, const char *what, const struct pause *pause)
{
    char date[DATE_TEXT_SIZE];
    explain_set(object, "pause", pause_json(pause));
    explain_say(object, "%s is paused by %s since %s%s%s", what, pause->by,
                date_format(pause->at_ms, date), pause->note[0] != '\0' ? ": " : "", pause->note);
}

static void explain_paused_run(const struct explained *explained, json_t *object)
{
    static const char *const names[] = {[PAUSE_CLUSTER] = "the cluster",
                                        [PAUSE_COURSE] = "the course",
                                        [PAUSE_ASSIGNMENT] = "the assignment",
                                        [PAUSE_RUN] = "the run",
                                        [PAUSE_WORKER] = "the grader"};
    const struct pause *pause = pausing_of_run(explained->scheduler, explained->run);
    if (pause != NULL)
        explain_pause(object, names[pause->kind], pause);
    else
        explain_say(object, "the run is paused");
}

static void explain_students(const struct explained *explained, json_t *object)
{
    const struct active_run *run = explained->run;
    uint32_t left = run->run.students - run->students_done;
    explain_set_number(object, "jobs", left);
    explain_say(object, "students' jobs of the run that have no result yet: %" PRIu32, left);
}

static void explain_retry_of_job(const struct explained *explained, json_t *object)
{
    const struct retry *retry = queue_delayed_retry(explained->run, explained->slot);
    int64_t left_ms = retry != NULL ? retry->due_ms - explained->scheduler->now_ms : 0;
    int64_t retry_ms = explain_retry(object, left_ms);
    uint32_t attempt = retry != NULL ? retry->attempt : 1;
    explain_set_number(object, "attempt", attempt);
    if (retry != NULL && retry->is_put_off)
        explain_say(object, "all graders that waited had returned it: in %.1f s it is tried again",
                    (double)retry_ms / 1000);
    else
        explain_say(object, "its attempt number %" PRIu32 " begins in %.1f s at the earliest",
                    attempt, (double)retry_ms / 1000);
}

static void explain_course_limit(const struct explained *explained, json_t *object)
{
    const struct course *course = explained->run->course;
    explain_set(object, "course", json_string(course->name));
    explain_set_number(object, "running", course->running);
    explain_set_number(object, "max_running", course->max_running);
    explain_say(object,
                "jobs of the course %s that run: %" PRIu32 ", as many as it may (%" PRIu32 ")",
                course->name, course->running, course->max_running);
}

static void explain_no_grader(const struct explained *explained, json_t *object)
{
    const char *title = protocol_title(explained->run->run.protocol);
    uint64_t dead = explained->counts[WAIT_GRADER_DEAD];
    explain_set(object, "protocol", json_string(title));
    explain_set_number(object, "graders", (int64_t)dead);
    explain_say(object, "no grader of the %s protocol is alive; known ones that are dead: %" PRIu64,
                title, dead);
}

/* Whether a live grader of the run's protocol has the tag. */
static bool explain_has_tag(const struct explained *explained, const char *tag)
{
    const struct known_worker *worker, *following;
    HASH_ITER (hh, explained->scheduler->workers.workers, worker, following)
        if (worker->is_alive && worker->protocol == explained->run->run.protocol &&
            worker_tags_include(worker->tags, tag))
            return true;
    return false;
}

static void explain_tags(const struct explained *explained, json_t *object)
{
    const char *requires = explained->run->submitter->lane->requires;
    json_t *tags = worker_tags_list(requires), *tag, *missing = json_array();
    size_t i;
    json_array_foreach (tags, i, tag)
        if (!explain_has_tag(explained, json_string_value(tag)))
            json_array_append(missing, tag);
    explain_set(object, "tags", tags);
    explain_set(object, "missing", missing);
    explain_set_number(object, "graders", (int64_t)explained->counts[WAIT_TAGS_MISSING]);
    explain_say(object, "no live grader has all of the tags %s", requires);
}

/* The names of the reservations of the group, or of all groups that are reserved against the job.
 */
static json_t *explain_reservations(const struct explained *explained)
{
    const struct worker_groups *groups = &explained->scheduler->groups;
    const struct known_worker *worker, *following;
    json_t *names = json_array();
    for (size_t i = 0; i < groups->reservation_count && json_array_size(names) < LISTED_NAMES; i++)
        HASH_ITER (hh, explained->scheduler->workers.workers, worker, following) {
            bool is_meant = explained->worker == NULL || explained->worker == worker;
            if (!is_meant || !worker->is_alive || worker->group == NULL ||
                !worker_group_has_reservation(worker->group, &groups->reservations[i]))
                continue;
            json_array_append_new(names, json_string(groups->reservations[i].name));
            break;
        }
    return names;
}

static json_t *explain_ahead_list(const struct queue_ahead *ahead)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ahead->course_count; i++)
        json_array_append_new(list, json_pack("{s:s,s:I}", "course", ahead->courses[i].course->name,
                                              "jobs", (json_int_t)ahead->courses[i].jobs));
    if (ahead->others > 0)
        json_array_append_new(list,
                              json_pack("{s:n,s:I}", "course", "jobs", (json_int_t)ahead->others));
    return list;
}

static void explain_ahead(const struct explained *explained, json_t *object)
{
    const struct queue_ahead *ahead = &explained->ahead;
    explain_set_number(object, "count", (int64_t)ahead->count);
    explain_set_number(object, "of_run", (int64_t)ahead->of_run);
    explain_set(object, "ahead", explain_ahead_list(ahead));
    explain_say(object, "jobs that go before it: %" PRIu64 ", of its own run: %" PRIu64,
                ahead->count, ahead->of_run);
}

static void explain_share(const struct explained *explained, json_t *object)
{
    const struct course *course = explained->run->course;
    explain_set(object, "course", json_string(course->name));
    explain_set_number(object, "weight", course->weight);
    explain_set_number(object, "courses", explained->ahead.less_share);
    explain_say(object, "courses that had less of their share and go first: %" PRIu32,
                explained->ahead.less_share);
}

/* ---- Of a grader ---- */

static void explain_silence(const struct explained *explained, json_t *object)
{
    int64_t silent_ms = explained->scheduler->now_ms - explained->worker->seen_ms;
    explain_set_number(object, "silent_ms", silent_ms > 0 ? silent_ms : 0);
    explain_say(object, "it is taken to be dead: it was last seen %" PRId64 " s ago",
                silent_ms / 1000);
}

static void explain_fault(const struct explained *explained, json_t *object)
{
    explain_set(object, "fault", json_string(explained->worker->fault));
    explain_say(object, "it says that it can't run jobs: %s", explained->worker->fault);
}

static void explain_paused_grader(const struct explained *explained, json_t *object)
{
    const struct pause *pause = pausing_of_worker(explained->scheduler, explained->worker);
    if (pause != NULL)
        explain_pause(object, "it", pause);
    else
        explain_say(object, "it is paused");
}

static void explain_failing(const struct explained *explained, json_t *object)
{
    const struct known_worker *worker = explained->worker;
    int64_t retry_ms = explain_retry(object,
                                     worker->paused_until_ms - explained->scheduler->now_ms);
    explain_say(object,
                "it failed %u jobs in a row at once without any output, or returned them: for "
                "%.1f s it gets none",
                worker->quick_failures, (double)retry_ms / 1000);
}

static void explain_full(const struct explained *explained, json_t *object)
{
    const struct known_worker *worker = explained->worker;
    explain_set_number(object, "held", worker->held);
    explain_set_number(object, "concurrency", worker->concurrency);
    explain_say(object, "it holds as many jobs as it takes: %" PRIu32, worker->held);
}

/* ---- All ---- */

static bool explain_is_of_jobs(enum wait_reason reason)
{
    return of_waiting_jobs[reason].detail != NULL;
}

/* What the table of sentences lacks of a job's reason. */
static void explain_complete_job(const struct explained *explained, enum wait_reason reason,
                                 json_t *object)
{
    static void (*const steps[WAIT_REASONS])(const struct explained *, json_t *) = {
        [WAIT_PAUSED] = explain_paused_run,          [WAIT_STUDENTS_NOT_DONE] = explain_students,
        [WAIT_RETRY_NOT_DUE] = explain_retry_of_job, [WAIT_PUT_OFF] = explain_retry_of_job,
        [WAIT_COURSE_LIMIT] = explain_course_limit,  [WAIT_NO_GRADER] = explain_no_grader,
        [WAIT_TAGS_MISSING] = explain_tags,          [WAIT_JOBS_AHEAD] = explain_ahead,
        [WAIT_SHARE_USED_UP] = explain_share,
    };
    if (steps[reason] != NULL)
        steps[reason](explained, object);
}

static void explain_complete_grader(const struct explained *explained, enum wait_reason reason,
                                    json_t *object)
{
    static void (*const steps[WAIT_REASONS])(const struct explained *, json_t *) = {
        [WAIT_GRADER_DEAD] = explain_silence,
        [WAIT_GRADER_FAULTY] = explain_fault,
        [WAIT_GRADER_PAUSED] = explain_paused_grader,
        [WAIT_GRADER_FAILING] = explain_failing,
        [WAIT_GRADER_FULL] = explain_full,
    };
    if (steps[reason] != NULL)
        steps[reason](explained, object);
    if (reason == WAIT_TAGS_MISSING)
        explain_set(object, "tags", worker_tags_list(explained->worker->tags));
}

/* Adds what reasons have in common whose detail ends with a number. */
static void explain_count(const struct explained *explained, enum wait_reason reason,
                          const char *detail, json_t *object)
{
    const struct scheduler *scheduler = explained->scheduler;
    uint64_t count = explained->counts[reason];
    explain_set_number(object, explained->worker != NULL ? "jobs" : "graders", (int64_t)count);
    explain_say(object, "%s %" PRIu64, detail, count);
    if (reason == WAIT_RETURNED)
        (void)explain_retry(object, explained->returned_until_ms - scheduler->now_ms);
    if (reason == WAIT_RESERVED)
        explain_set(object, "reservations", explain_reservations(explained));
}

static const struct reason_text *explain_text(const struct explained *explained,
                                              enum wait_reason reason)
{
    if (explained->worker == NULL)
        return &of_job[reason];
    return explain_is_of_jobs(reason) ? &of_waiting_jobs[reason] : &of_grader[reason];
}

static json_t *explain_reason_make(const struct explained *explained, enum wait_reason reason)
{
    const struct reason_text *text = explain_text(explained, reason);
    json_t *object = json_pack("{s:s}", "reason", wait_reason_word(reason));
    size_t length = text->detail != NULL ? strlen(text->detail) : 0;
    if (length > 0 && text->detail[length - 1] == ':')
        explain_count(explained, reason, text->detail, object);
    else if (length > 0)
        explain_set(object, "detail", json_string(text->detail));
    if (reason == WAIT_LEADER_STARTING)
        (void)explain_retry(object, explained->scheduler->opens_ms - explained->scheduler->now_ms);
    if (explained->worker != NULL)
        explain_complete_grader(explained, reason, object);
    else
        explain_complete_job(explained, reason, object);
    explain_set(object, "changes_when", json_string(text->changes_when));
    return object;
}

void explained_add(struct explained *explained, enum wait_reason reason, uint64_t count)
{
    explained->reasons |= wait_bit(reason, count > 0);
    explained->counts[reason] += count;
}

json_t *explain_reasons_json(const struct explained *explained, uint64_t among)
{
    json_t *list = json_array();
    for (uint64_t left = explained->reasons & among; left != 0; left &= left - 1)
        json_array_append_new(list, explain_reason_make(explained, wait_reason_first(left)));
    return list;
}
