/* Which waiting grader gets which job: required tags, reservations, limits of courses. */
#include "scheduler/rules/sharing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "fake_scheduler.h"
#include "scheduler/rules/dispatch.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/replica_signals.h"

enum { NOW_MS = 1000000, MOST_TEXT = 400 };

static const int64_t DATE_MS = 1700000000000;

static int setup(void **state)
{
    const struct scheduler_settings settings = {
        .heartbeat_ms = 10000, .job_timeout_ms = 3600000, .max_attempts = 2};
    struct scheduler *scheduler = fake_scheduler_new(&settings, NOW_MS, DATE_MS);
    replica_table_add(&scheduler->replicas, "r1", "http://r1:1")->in_contact = true;
    *state = scheduler;
    return 0;
}

/* A grader that takes one job at a time, and whose poll waits. */
static void add_grader(struct scheduler *scheduler, const char *id, const char *tags)
{
    static int64_t polls = 0;
    struct worker worker = {
        .epoch = 1, .is_alive = true, .concurrency = 1, .protocol = PROTOCOL_COURSE};
    snprintf(worker.id, sizeof worker.id, "%s", id);
    snprintf(worker.tags, sizeof worker.tags, "%s", tags);
    replica_signals_take_worker(scheduler, &worker);
    (void)replica_park(&scheduler->replicas, replica_table_find(&scheduler->replicas, "r1"),
                       worker_table_find(&scheduler->workers, id), ++polls, false);
}

/* A run of a course, all of whose jobs may be handed out. Its id ends with `letter`. */
static struct active_run *add_run(struct scheduler *scheduler, char letter, uint32_t students,
                                  const char *course, const char *requires,
                                  enum run_class run_class)
{
    struct run run = {.students = students,
                      .protocol = PROTOCOL_COURSE,
                      .run_class = run_class,
                      .requires = requires != NULL ? bw_copy(requires) : NULL,
                      .started_ms = DATE_MS};
    snprintf(run.id, sizeof run.id, "%023d%c", 0, letter);
    snprintf(run.course, sizeof run.course, "%s", course);
    struct active_run *added = queue_add(&scheduler->queue, &run);
    added->phase = RUN_STUDENTS;
    sharing_take_run(scheduler, added);
    queue_open_slots(added, 0, students);
    return added;
}

/* Hands out what can be handed out; the expected pairs are "<run's letter>:<worker> " each. */
static void assert_handed_out(struct scheduler *scheduler, const char *expected)
{
    char text[MOST_TEXT] = "";
    struct command *command;
    while (dispatch_round(scheduler))
        ;
    while ((command = command_list_take(&scheduler->commands)) != NULL) {
        size_t length = strlen(text);
        if (command->kind == COMMAND_INSERT_LEASE)
            snprintf(text + length, sizeof text - length, "%c:%s ",
                     command->lease.lease.job[RUN_ID_LENGTH - 1], command->lease.lease.worker);
        command_free(command);
    }
    assert_string_equal(text, expected);
}

static struct reservation reservation_of(const char *name, const char *tags, unsigned classes)
{
    struct reservation reservation = {.classes = classes};
    snprintf(reservation.name, sizeof reservation.name, "%s", name);
    snprintf(reservation.tags, sizeof reservation.tags, "%s", tags);
    return reservation;
}

/* Takes settings with `count` reservations, of which number `limited` (-1: none) is for a course.
 */
static void reserve(struct scheduler *scheduler, const struct reservation *reservations,
                    size_t count, int limited, const char *course)
{
    struct scheduling scheduling = {.reservation_count = count};
    scheduling.reservations = bw_alloc_array(count + 1, sizeof *scheduling.reservations);
    for (size_t i = 0; i < count; i++)
        scheduling.reservations[i] = reservations[i];
    if (limited >= 0) {
        struct reservation *one = &scheduling.reservations[limited];
        one->courses = bw_alloc_array(1, sizeof *one->courses);
        one->course_count = 1;
        snprintf(one->courses[0], sizeof one->courses[0], "%s", course);
    }
    sharing_take(scheduler, &scheduling);
    assert_null(scheduling.reservations); /* taken over */
}

static void set_share(struct scheduler *scheduler, const char *course, uint32_t weight,
                      uint32_t max_running)
{
    struct scheduling scheduling = {.share_count = 1};
    scheduling.shares = bw_alloc_array(1, sizeof *scheduling.shares);
    snprintf(scheduling.shares[0].course, sizeof scheduling.shares[0].course, "%s", course);
    scheduling.shares[0].weight = weight;
    scheduling.shares[0].max_running = max_running;
    sharing_take(scheduler, &scheduling);
}

static void end_job(struct scheduler *scheduler, struct active_run *run, uint32_t slot)
{
    char job[JOB_ID_SIZE];
    job_id_make(run->run.id, JOB_STUDENT, slot, job);
    lease_remove(scheduler, lease_table_find(&scheduler->leases, job));
}

static void job_goes_to_a_grader_with_its_tags(void **state)
{
    struct scheduler *scheduler = *state;
    add_run(scheduler, 'a', 2, "one", "gpu,large", RUN_CLASS_NORMAL);
    add_grader(scheduler, "w1", "");
    add_grader(scheduler, "w2", "gpu");
    add_grader(scheduler, "w3", "large,lab-2,gpu");
    assert_handed_out(scheduler, "a:w3 ");
    add_grader(scheduler, "w4", "gpu,large");
    assert_handed_out(scheduler, "a:w4 ");
}

static void job_that_nobody_may_have_stops_no_other(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *a = add_run(scheduler, 'a', 1, "one", "gpu", RUN_CLASS_EXAM);
    add_run(scheduler, 'b', 1, "one", NULL, RUN_CLASS_BATCH);
    add_grader(scheduler, "w1", "");
    assert_handed_out(scheduler, "b:w1 ");
    assert_true(a->submitter->lane->is_aside);
    add_grader(scheduler, "w2", "gpu");
    assert_handed_out(scheduler, "a:w2 ");
}

static void plain_jobs_leave_the_graders_with_tags_free(void **state)
{
    struct scheduler *scheduler = *state;
    add_grader(scheduler, "w1", "gpu,large");
    add_grader(scheduler, "w2", "gpu");
    add_grader(scheduler, "w3", "");
    add_run(scheduler, 'a', 2, "one", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "a:w3 a:w2 ");
}

static void grader_that_waits_longest_is_first_whatever_its_group(void **state)
{
    struct scheduler *scheduler = *state;
    add_grader(scheduler, "w1", "lab-1");
    add_grader(scheduler, "w2", "lab-2");
    add_grader(scheduler, "w3", "lab-1");
    add_run(scheduler, 'a', 3, "one", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "a:w1 a:w2 a:w3 ");
}

static void reserved_graders_take_nothing_else(void **state)
{
    struct scheduler *scheduler = *state;
    const struct reservation list[] = {reservation_of("lab", "lab-1", RUN_CLASSES_ALL),
                                       reservation_of("exams", "quiet", 1 << RUN_CLASS_EXAM)};
    add_grader(scheduler, "w1", "lab-1");
    add_grader(scheduler, "w2", "quiet");
    add_grader(scheduler, "w3", "lab-1,quiet");
    add_run(scheduler, 'a', 5, "one", NULL, RUN_CLASS_NORMAL);
    reserve(scheduler, list, 2, 0, "two");
    assert_handed_out(scheduler, "");
    add_run(scheduler, 'b', 1, "two", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "b:w1 ");
    add_run(scheduler, 'c', 2, "one", NULL, RUN_CLASS_EXAM);
    assert_handed_out(scheduler, "c:w2 c:w3 ");
}

static void reserved_graders_are_used_before_others(void **state)
{
    struct scheduler *scheduler = *state;
    const struct reservation lab = reservation_of("lab", "lab-1", RUN_CLASSES_ALL);
    add_grader(scheduler, "w1", "");
    add_grader(scheduler, "w2", "lab-1");
    reserve(scheduler, &lab, 1, 0, "two");
    add_run(scheduler, 'a', 1, "two", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "a:w2 ");
}

static void end_of_a_reservation_frees_its_graders_at_once(void **state)
{
    struct scheduler *scheduler = *state;
    const struct reservation lab = reservation_of("lab", "lab-1", RUN_CLASSES_ALL);
    add_grader(scheduler, "w1", "lab-1");
    reserve(scheduler, &lab, 1, 0, "two");
    add_run(scheduler, 'a', 1, "one", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "");
    reserve(scheduler, NULL, 0, -1, "");
    assert_handed_out(scheduler, "a:w1 ");
}

static void reservation_may_change_its_course(void **state)
{
    struct scheduler *scheduler = *state;
    const struct reservation lab = reservation_of("lab", "lab-1", RUN_CLASSES_ALL);
    add_grader(scheduler, "w1", "lab-1");
    add_run(scheduler, 'a', 1, "one", NULL, RUN_CLASS_NORMAL);
    reserve(scheduler, &lab, 1, 0, "two");
    assert_handed_out(scheduler, "");
    reserve(scheduler, &lab, 1, 0, "one");
    assert_handed_out(scheduler, "a:w1 ");
}

static void course_has_no_more_jobs_than_its_limit(void **state)
{
    struct scheduler *scheduler = *state;
    set_share(scheduler, "one", 0, 2);
    struct active_run *a = add_run(scheduler, 'a', 9, "one", NULL, RUN_CLASS_NORMAL);
    for (char id[] = "w1"; id[1] <= '4'; id[1]++)
        add_grader(scheduler, id, "");
    assert_handed_out(scheduler, "a:w1 a:w2 ");
    add_run(scheduler, 'b', 1, "two", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "b:w3 ");
    end_job(scheduler, a, 0);
    assert_handed_out(scheduler, "a:w4 ");
    assert_int_equal(a->course->running, 2);
}

static void limit_that_is_raised_counts_at_once(void **state)
{
    struct scheduler *scheduler = *state;
    set_share(scheduler, "one", 0, 1);
    add_run(scheduler, 'a', 9, "one", NULL, RUN_CLASS_NORMAL);
    for (char id[] = "w1"; id[1] <= '3'; id[1]++)
        add_grader(scheduler, id, "");
    assert_handed_out(scheduler, "a:w1 ");
    set_share(scheduler, "one", 0, 2);
    assert_handed_out(scheduler, "a:w2 ");
    set_share(scheduler, "another", 5, 5);
    assert_handed_out(scheduler, "a:w3 "); /* no limit any more */
}

static void weights_are_live(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *a = add_run(scheduler, 'a', 9, "one", NULL, RUN_CLASS_NORMAL);
    assert_int_equal(a->course->weight, COURSE_WEIGHT_DEFAULT);
    set_share(scheduler, "one", 700, 0);
    assert_int_equal(a->course->weight, 700);
    assert_int_equal(add_run(scheduler, 'b', 1, "two", NULL, RUN_CLASS_NORMAL)->course->weight,
                     COURSE_WEIGHT_DEFAULT);
    set_share(scheduler, "two", 3, 0);
    assert_int_equal(a->course->weight, COURSE_WEIGHT_DEFAULT);
}

static void grader_that_registers_again_with_other_tags_moves(void **state)
{
    struct scheduler *scheduler = *state;
    add_grader(scheduler, "w1", "");
    struct known_worker *worker = worker_table_find(&scheduler->workers, "w1");
    add_run(scheduler, 'a', 1, "one", "gpu", RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "");
    struct worker again = {
        .epoch = 2, .is_alive = true, .concurrency = 1, .protocol = PROTOCOL_COURSE};
    snprintf(again.id, sizeof again.id, "w1");
    snprintf(again.tags, sizeof again.tags, "gpu");
    replica_signals_take_worker(scheduler, &again);
    assert_int_equal(HASH_COUNT(scheduler->groups.groups), 1);
    assert_int_equal(worker->group->waiting, 1); /* its poll has moved with it */
    assert_handed_out(scheduler, "a:w1 ");
}

static void busy_graders_of_a_group_hide_no_others(void **state)
{
    struct scheduler *scheduler = *state;
    add_grader(scheduler, "w1", "");
    add_grader(scheduler, "w2", "");
    worker_table_find(&scheduler->workers, "w1")->is_paused = true;
    add_run(scheduler, 'a', 2, "one", NULL, RUN_CLASS_NORMAL);
    assert_handed_out(scheduler, "a:w2 ");
    worker_table_find(&scheduler->workers, "w1")->is_paused = false;
    assert_handed_out(scheduler, "a:w1 ");
}

static void retry_avoids_its_worker_across_groups(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *a = add_run(scheduler, 'a', 1, "one", NULL, RUN_CLASS_NORMAL);
    queue_close(a);
    add_grader(scheduler, "w1", "");
    add_grader(scheduler, "w2", "gpu");
    queue_retry(a, &(struct retry){.slot = 0, .attempt = 2, .avoid = "w1"}, NOW_MS);
    assert_handed_out(scheduler, "a:w2 ");
    end_job(scheduler, a, 0);
    queue_retry(a, &(struct retry){.slot = 0, .attempt = 3, .avoid = "w1"}, NOW_MS);
    assert_handed_out(scheduler, "a:w1 "); /* nobody else waits */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fake_scheduler_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(job_goes_to_a_grader_with_its_tags),
        CASE(job_that_nobody_may_have_stops_no_other),
        CASE(plain_jobs_leave_the_graders_with_tags_free),
        CASE(grader_that_waits_longest_is_first_whatever_its_group),
        CASE(reserved_graders_take_nothing_else),
        CASE(reserved_graders_are_used_before_others),
        CASE(end_of_a_reservation_frees_its_graders_at_once),
        CASE(reservation_may_change_its_course),
        CASE(course_has_no_more_jobs_than_its_limit),
        CASE(limit_that_is_raised_counts_at_once),
        CASE(weights_are_live),
        CASE(grader_that_registers_again_with_other_tags_moves),
        CASE(busy_graders_of_a_group_hide_no_others),
        CASE(retry_avoids_its_worker_across_groups),
    };
    return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
