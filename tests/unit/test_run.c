#include "common/domain/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { MOST_STUDENTS = 3 };

/* Calls `check` with every combination of facts, including impossible ones. */
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

/* True if a run can have these facts: results only of jobs that exist and were handed out. */
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

static void phase_waits_only_for_its_own_jobs(void **state)
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

static void run_is_finished_exactly_when_all_needed_results_succeeded(void **state)
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

static void run_fails_only_by_its_pre_or_post_processing(void **state)
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

static void only_cancelled_results_cancel_a_run(void **state)
{
    (void)state;
    for_all_facts(check_cancelled);
}

static int rank(enum run_phase phase)
{
    return run_phase_is_over(phase) ? RUN_FINISHED : (int)phase;
}

static void assert_continues(const struct run_facts *facts, enum run_phase phase)
{
    enum run_phase after = run_phase(facts);
    if (run_phase_is_over(phase))
        assert_int_equal(after, phase);
    else
        assert_true(rank(after) >= rank(phase));
}

/* Completes what the phase waits for, with every outcome. */
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
            assert_continues(&next, phase);
    }
}

static void phase_never_goes_back_and_the_end_is_final(void **state)
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

static void post_processing_does_not_start_after_cancelled_students(void **state)
{
    (void)state;
    struct run_facts facts = {.is_started = true,
                              .has_post = true,
                              .students = 2,
                              .students_done = 2,
                              .any_cancelled = true};
    assert_int_equal(run_phase(&facts), RUN_CANCELLED);
}

static void a_run_is_superseded_when_all_of_its_students_are(void **state)
{
    (void)state;
    struct run_facts facts = {.is_started = true,
                              .has_pre = true,
                              .has_post = true,
                              .pre = OUTCOME_SUCCEEDED,
                              .students = 2,
                              .students_done = 2,
                              .students_superseded = 1};
    assert_int_equal(run_phase(&facts), RUN_POST);
    facts.students_superseded = 2;
    assert_int_equal(run_phase(&facts), RUN_SUPERSEDED);
    facts.pre = OUTCOME_NONE;
    assert_int_equal(run_phase(&facts), RUN_PRE);
    facts.pre = OUTCOME_SUPERSEDED;
    assert_int_equal(run_phase(&facts), RUN_SUPERSEDED);
    facts = (struct run_facts){.is_started = true};
    assert_int_equal(run_phase(&facts), RUN_FINISHED);
}

static void phases_are_read_back_by_name(void **state)
{
    (void)state;
    for (int i = RUN_CREATED; i <= RUN_SUPERSEDED; i++) {
        enum run_phase phase = RUN_CREATED;
        assert_true(run_phase_parse(run_phase_name((enum run_phase)i), &phase));
        assert_int_equal(phase, i);
        assert_int_equal(run_phase_is_over(phase), i >= RUN_FINISHED);
    }
    enum run_phase recovery_probe = RUN_POST;
    assert_false(run_phase_parse("done", &recovery_probe));
    assert_int_equal(recovery_probe, RUN_POST);
}

static void every_job_has_its_own_slot(void **state)
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

static void slots_are_pre_students_post(void **state)
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

static void missing_job_has_no_slot(void **state)
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

static void a_job_that_was_cancelled_alone_does_not_count_as_cancelled_with_its_run(void **state)
{
    (void)state;
    assert_true(run_cancelled_job(OUTCOME_CANCELLED, OWNER_UNSAID));
    assert_false(run_cancelled_job(OUTCOME_CANCELLED, OWNER_CLIENT));
    assert_false(run_cancelled_job(OUTCOME_FAILED, OWNER_UNSAID));
    assert_false(run_cancelled_job(OUTCOME_NONE, OWNER_UNSAID));
}

static void a_summary_byte_keeps_outcome_attempts_and_owner(void **state)
{
    (void)state;
    static const struct {
        enum job_owner owner;
        enum job_kind kind;
    } owners[] = {{OWNER_UNSAID, JOB_STUDENT},     {OWNER_INFRASTRUCTURE, JOB_STUDENT},
                  {OWNER_INFRASTRUCTURE, JOB_PRE}, {OWNER_STUDENT, JOB_STUDENT},
                  {OWNER_COURSE, JOB_PRE},         {OWNER_COURSE, JOB_POST},
                  {OWNER_COURSE, JOB_STUDENT},     {OWNER_STUDENT, JOB_PRE}};
    for (int outcome = OUTCOME_NONE; outcome <= OUTCOME_FAILED; outcome++)
        for (uint32_t attempts = 0; attempts <= 100; attempts++)
            for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
                uint8_t summary = summary_make((enum job_outcome)outcome, attempts, owners[i].owner,
                                               owners[i].kind);
                assert_int_equal(summary_outcome(summary), outcome);
                assert_int_equal(summary_attempts(summary), attempts < 15 ? attempts : 15);
                assert_int_equal(summary_owner(summary, owners[i].kind), owners[i].owner);
            }
    assert_int_equal(summary_make(OUTCOME_NONE, 0, OWNER_UNSAID, JOB_PRE), 0);
    assert_int_equal(
        summary_owner(summary_make(OUTCOME_CANCELLED, 3, OWNER_CLIENT, JOB_STUDENT), JOB_STUDENT),
        OWNER_CLIENT);
    uint8_t superseded = summary_make(OUTCOME_SUPERSEDED, 3, OWNER_CLIENT, JOB_STUDENT);
    assert_int_equal(summary_outcome(superseded), OUTCOME_SUPERSEDED);
    assert_int_equal(summary_attempts(superseded), 3);
    assert_int_equal(summary_owner(superseded, JOB_STUDENT), OWNER_CLIENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_created_until_it_is_started),
        cmocka_unit_test(a_job_that_was_cancelled_alone_does_not_count_as_cancelled_with_its_run),
        cmocka_unit_test(phase_waits_only_for_its_own_jobs),
        cmocka_unit_test(run_is_finished_exactly_when_all_needed_results_succeeded),
        cmocka_unit_test(run_fails_only_by_its_pre_or_post_processing),
        cmocka_unit_test(only_cancelled_results_cancel_a_run),
        cmocka_unit_test(phase_never_goes_back_and_the_end_is_final),
        cmocka_unit_test(a_run_without_any_job_is_finished_at_once),
        cmocka_unit_test(post_processing_does_not_start_after_cancelled_students),
        cmocka_unit_test(a_run_is_superseded_when_all_of_its_students_are),
        cmocka_unit_test(phases_are_read_back_by_name),
        cmocka_unit_test(every_job_has_its_own_slot),
        cmocka_unit_test(slots_are_pre_students_post),
        cmocka_unit_test(missing_job_has_no_slot),
        cmocka_unit_test(a_summary_byte_keeps_outcome_attempts_and_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
