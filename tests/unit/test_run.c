#include "common/domain/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { MOST_STUDENTS = 3 };

/* Calls `check` with every combination of facts, also with those that no run should ever come to.
 */
static void for_all_facts(void (*check)(const struct run_facts *facts, enum run_phase phase))
{
    for (unsigned bits = 0; bits < 32; bits++)
        for (uint32_t students = 0; students <= MOST_STUDENTS; students++)
            for (uint32_t done = 0; done <= students; done++)
                for (unsigned outcomes = 0; outcomes < 16; outcomes++) {
                    struct run_facts facts = {
                        .has_pre = bits & 1,
                        .has_post = bits & 2,
                        .is_started = bits & 4,
                        .is_cancelled = bits & 8,
                        .any_cancelled = bits & 16,
                        .students = students,
                        .students_done = done,
                        .pre = (enum job_outcome)(outcomes & 3),
                        .post = (enum job_outcome)(outcomes >> 2),
                    };
                    check(&facts, run_phase(&facts));
                }
}

/* The facts of a run as it can be: results only of jobs that there are and whose turn came. */
static bool is_possible(const struct run_facts *facts)
{
    bool knows_cancelled = facts->pre == OUTCOME_CANCELLED || facts->post == OUTCOME_CANCELLED;
    if (!facts->is_started)
        return facts->pre == OUTCOME_NONE && facts->post == OUTCOME_NONE &&
               facts->students_done == 0;
    if (!facts->has_pre && facts->pre != OUTCOME_NONE)
        return false;
    if (!facts->has_post && facts->post != OUTCOME_NONE)
        return false;
    return facts->any_cancelled || !knows_cancelled;
}

static void check_start(const struct run_facts *facts, enum run_phase phase)
{
    if (!facts->is_started)
        assert_int_equal(phase, facts->is_cancelled ? RUN_CANCELLED : RUN_CREATED);
    else
        assert_int_not_equal(phase, RUN_CREATED);
}

static void a_run_is_created_until_it_is_started(void **state)
{
    (void)state;
    for_all_facts(check_start);
}

static void check_needs(const struct run_facts *facts, enum run_phase phase)
{
    if (phase == RUN_PRE)
        assert_true(facts->has_pre && facts->pre == OUTCOME_NONE);
    if (phase == RUN_STUDENTS) {
        assert_true(facts->students_done < facts->students);
        assert_true(!facts->has_pre || facts->pre == OUTCOME_SUCCEEDED);
    }
    if (phase == RUN_POST) {
        assert_true(facts->has_post && facts->post == OUTCOME_NONE);
        assert_true(facts->students_done == facts->students);
        assert_true(!facts->has_pre || facts->pre == OUTCOME_SUCCEEDED);
    }
}

static void a_phase_waits_for_a_job_of_its_own_and_for_none_before(void **state)
{
    (void)state;
    for_all_facts(check_needs);
}

static void check_finished(const struct run_facts *facts, enum run_phase phase)
{
    bool pre_is_well = !facts->has_pre || facts->pre == OUTCOME_SUCCEEDED;
    bool post_is_well = !facts->has_post || facts->post == OUTCOME_SUCCEEDED;
    bool is_finished = facts->is_started && pre_is_well &&
                       facts->students_done == facts->students && post_is_well &&
                       !facts->any_cancelled;
    assert_int_equal(phase == RUN_FINISHED, is_finished);
}

static void it_is_finished_exactly_when_all_needed_results_are_there_and_well(void **state)
{
    (void)state;
    for_all_facts(check_finished);
}

static void check_failed(const struct run_facts *facts, enum run_phase phase)
{
    if (!is_possible(facts))
        return;
    bool pre_failed = facts->has_pre && facts->pre == OUTCOME_FAILED;
    bool post_failed = facts->has_post && facts->post == OUTCOME_FAILED;
    if (phase == RUN_FAILED)
        assert_true(pre_failed || post_failed);
    if (facts->is_started && pre_failed)
        assert_int_equal(phase, RUN_FAILED);
}

static void it_fails_by_its_pre_or_post_processing_alone(void **state)
{
    (void)state;
    for_all_facts(check_failed);
}

static void check_cancelled(const struct run_facts *facts, enum run_phase phase)
{
    if (!is_possible(facts))
        return;
    if (phase == RUN_CANCELLED && facts->is_started)
        assert_true(facts->any_cancelled);
    struct run_facts unmarked = *facts;
    unmarked.is_cancelled = false;
    if (facts->is_started)
        assert_int_equal(phase, run_phase(&unmarked));
}

static void the_mark_only_asks_and_cancelled_results_decide(void **state)
{
    (void)state;
    for_all_facts(check_cancelled);
}

static int rank(enum run_phase phase)
{
    return run_phase_is_over(phase) ? RUN_FINISHED : (int)phase;
}

static void assert_goes_on(const struct run_facts *facts, enum run_phase phase)
{
    enum run_phase after = run_phase(facts);
    if (run_phase_is_over(phase))
        assert_int_equal(after, phase);
    else
        assert_true(rank(after) >= rank(phase));
}

/* Whatever the phase waits for comes in, with every outcome. */
static void check_progress(const struct run_facts *facts, enum run_phase phase)
{
    if (!is_possible(facts))
        return;
    for (int outcome = OUTCOME_SUCCEEDED; outcome <= OUTCOME_CANCELLED; outcome++) {
        struct run_facts next = *facts;
        if (phase == RUN_PRE)
            next.pre = (enum job_outcome)outcome;
        else if (phase == RUN_STUDENTS)
            next.students_done++;
        else if (phase == RUN_POST)
            next.post = (enum job_outcome)outcome;
        else
            next.is_started = true;
        if (outcome == OUTCOME_CANCELLED && phase >= RUN_PRE && phase <= RUN_POST)
            next.any_cancelled = true;
        if (phase != RUN_CANCELLED)
            assert_goes_on(&next, phase);
    }
}

static void a_run_never_goes_back_and_its_end_stays(void **state)
{
    (void)state;
    for_all_facts(check_progress);
}

static void a_run_without_any_job_is_finished_at_once(void **state)
{
    (void)state;
    struct run_facts facts = {.is_started = true};
    assert_int_equal(run_phase(&facts), RUN_FINISHED);
    facts.is_cancelled = true;
    assert_int_equal(run_phase(&facts), RUN_FINISHED);
}

static void cancelled_students_keep_post_processing_from_starting(void **state)
{
    (void)state;
    struct run_facts facts = {.is_started = true,
                              .has_post = true,
                              .students = 2,
                              .students_done = 2,
                              .any_cancelled = true};
    assert_int_equal(run_phase(&facts), RUN_CANCELLED);
}

static void phases_are_read_back_by_name(void **state)
{
    (void)state;
    for (int i = RUN_CREATED; i <= RUN_CANCELLED; i++) {
        enum run_phase phase = RUN_CREATED;
        assert_true(run_phase_parse(run_phase_name((enum run_phase)i), &phase));
        assert_int_equal(phase, i);
        assert_int_equal(run_phase_is_over(phase), i >= RUN_FINISHED);
    }
    enum run_phase recovery_probe = RUN_POST;
    assert_false(run_phase_parse("done", &recovery_probe));
    assert_int_equal(recovery_probe, RUN_POST);
}

static void every_job_has_its_own_place_in_the_row(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 4; bits++)
        for (uint32_t students = 0; students <= MOST_STUDENTS; students++) {
            bool has_pre = bits & 1, has_post = bits & 2;
            uint32_t count = run_job_count(has_pre, students, has_post);
            assert_int_equal(count, (has_pre ? 1u : 0u) + students + (has_post ? 1u : 0u));
            for (uint32_t slot = 0; slot < count; slot++) {
                enum job_kind kind;
                uint32_t index, again = UINT32_MAX;
                run_slot_job(has_pre, students, slot, &kind, &index);
                assert_true(run_job_slot(has_pre, students, has_post, kind, index, &again));
                assert_int_equal(again, slot);
            }
        }
}

static void the_row_is_pre_students_post(void **state)
{
    (void)state;
    static const enum job_kind kinds[] = {JOB_PRE, JOB_STUDENT, JOB_STUDENT, JOB_POST};
    for (uint32_t slot = 0; slot < 4; slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(true, 2, slot, &kind, &index);
        assert_int_equal(kind, kinds[slot]);
        assert_int_equal(index, slot == 2 ? 1 : 0);
    }
    assert_int_equal(run_phase_of(JOB_PRE), RUN_PRE);
    assert_int_equal(run_phase_of(JOB_STUDENT), RUN_STUDENTS);
    assert_int_equal(run_phase_of(JOB_POST), RUN_POST);
}

static void a_job_that_the_run_has_not_has_no_place(void **state)
{
    (void)state;
    uint32_t slot = 7;
    assert_false(run_job_slot(false, 2, true, JOB_PRE, 0, &slot));
    assert_false(run_job_slot(true, 2, false, JOB_POST, 0, &slot));
    assert_false(run_job_slot(true, 2, true, JOB_STUDENT, 2, &slot));
    assert_false(run_job_slot(true, 2, true, JOB_PRE, 1, &slot));
    assert_false(run_job_slot(true, 2, true, JOB_POST, 1, &slot));
    assert_int_equal(slot, 7);
}

static void a_summary_byte_keeps_outcome_and_attempts(void **state)
{
    (void)state;
    for (int outcome = OUTCOME_NONE; outcome <= OUTCOME_CANCELLED; outcome++)
        for (uint32_t attempts = 0; attempts <= 100; attempts++) {
            uint8_t summary = summary_make((enum job_outcome)outcome, attempts);
            assert_int_equal(summary_outcome(summary), outcome);
            assert_int_equal(summary_attempts(summary), attempts < 15 ? attempts : 15);
        }
    assert_int_equal(summary_make(OUTCOME_NONE, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_created_until_it_is_started),
        cmocka_unit_test(a_phase_waits_for_a_job_of_its_own_and_for_none_before),
        cmocka_unit_test(it_is_finished_exactly_when_all_needed_results_are_there_and_well),
        cmocka_unit_test(it_fails_by_its_pre_or_post_processing_alone),
        cmocka_unit_test(the_mark_only_asks_and_cancelled_results_decide),
        cmocka_unit_test(a_run_never_goes_back_and_its_end_stays),
        cmocka_unit_test(a_run_without_any_job_is_finished_at_once),
        cmocka_unit_test(cancelled_students_keep_post_processing_from_starting),
        cmocka_unit_test(phases_are_read_back_by_name),
        cmocka_unit_test(every_job_has_its_own_place_in_the_row),
        cmocka_unit_test(the_row_is_pre_students_post),
        cmocka_unit_test(a_job_that_the_run_has_not_has_no_place),
        cmocka_unit_test(a_summary_byte_keeps_outcome_and_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
