/* Which workers have returned a job, and when they may have it again. */
#include "scheduler/state/returned_jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { NOW_MS = 5000, SLOT = 7 };

static void note(struct returned_job **jobs, uint32_t attempt, const char *worker, int64_t now_ms)
{
    struct lease lease = {.attempt = attempt, .end = LEASE_RETURNED};
    snprintf(lease.worker, sizeof lease.worker, "%s", worker);
    snprintf(lease.reason, sizeof lease.reason, "reason %u", attempt);
    returned_jobs_note(jobs, SLOT, &lease, now_ms);
}

static void nobody_is_excluded_from_a_job_that_nobody_returned(void **state)
{
    (void)state;
    assert_null(returned_jobs_find(NULL, SLOT));
    assert_false(returned_job_excludes(NULL, "w1", NOW_MS));
    assert_false(returned_job_is_hopeless(NULL));
}

static void a_worker_is_excluded_for_longer_each_time(void **state)
{
    static const int64_t pauses_ms[] = {30000, 60000, 120000, 240000, 480000, 480000};
    struct returned_job *jobs = NULL;
    (void)state;
    for (uint32_t i = 0; i < sizeof pauses_ms / sizeof *pauses_ms; i++) {
        note(&jobs, i + 1, "w1", NOW_MS);
        const struct returned_job *job = returned_jobs_find(jobs, SLOT);
        assert_true(returned_job_excludes(job, "w1", NOW_MS + pauses_ms[i] - 1));
        assert_false(returned_job_excludes(job, "w1", NOW_MS + pauses_ms[i]));
        assert_false(returned_job_excludes(job, "w2", NOW_MS));
        assert_int_equal(job->count, 1);
    }
    assert_null(returned_jobs_find(jobs, SLOT + 1));
    returned_jobs_clear(&jobs);
    assert_null(jobs);
}

static void five_different_workers_are_enough_and_the_last_attempts_reason_is_kept(void **state)
{
    struct returned_job *jobs = NULL;
    (void)state;
    note(&jobs, 6, "w1", NOW_MS); /* recovery reads them in no order */
    note(&jobs, 2, "w2", NOW_MS);
    note(&jobs, 3, "w3", NOW_MS);
    note(&jobs, 4, "w4", NOW_MS);
    note(&jobs, 1, "w1", NOW_MS);
    const struct returned_job *job = returned_jobs_find(jobs, SLOT);
    assert_false(returned_job_is_hopeless(job));
    note(&jobs, 5, "w5", NOW_MS);
    assert_true(returned_job_is_hopeless(job));
    note(&jobs, 0, "w6", NOW_MS);
    assert_true(returned_job_is_hopeless(job));
    assert_string_equal(job->reason, "reason 6");
    returned_jobs_remove(&jobs, SLOT + 1);
    assert_non_null(jobs);
    returned_jobs_remove(&jobs, SLOT);
    assert_null(jobs);
}

static void five_returns_by_owner_rules_are_enough_whoever_had_the_job(void **state)
{
    struct returned_job *jobs = NULL;
    struct lease lease = {.worker = "w1", .is_ruled = true};
    (void)state;
    note(&jobs, 1, "w1", NOW_MS);
    for (lease.attempt = 2; lease.attempt <= 6; lease.attempt++) {
        assert_false(returned_job_is_hopeless(returned_jobs_find(jobs, SLOT)));
        returned_jobs_note(&jobs, SLOT, &lease, NOW_MS);
    }
    assert_true(returned_job_is_hopeless(returned_jobs_find(jobs, SLOT)));
    assert_int_equal(returned_job_count(returned_jobs_find(jobs, SLOT)), 5);
    assert_int_equal(returned_job_count(NULL), 0);
    returned_jobs_clear(&jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_excluded_from_a_job_that_nobody_returned),
        cmocka_unit_test(a_worker_is_excluded_for_longer_each_time),
        cmocka_unit_test(five_different_workers_are_enough_and_the_last_attempts_reason_is_kept),
        cmocka_unit_test(five_returns_by_owner_rules_are_enough_whoever_had_the_job),
    };
    return cmocka_run_group_tests_name("returned_jobs", tests, NULL, NULL);
}
