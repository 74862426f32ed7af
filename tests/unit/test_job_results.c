#include "common/store/job_results.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define RUN "0123456789abcdef01234567"

enum { STUDENTS = 2500, CHUNK = 1000 };

static const struct run run = {.id = RUN, .students = STUDENTS};

/* Stands in for the store: the jobs with even slots have a result. */
static struct {
    size_t reads, asked;
    size_t failing; /* the read of this number fails; 0: none */
    bool with_text;
} fake;

enum bw_code result_store_read(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                               size_t count, bool with_text,
                               void (*each)(const struct result *result, void *context),
                               void *context, struct bw_error *error)
{
    struct result result = {.outcome = OUTCOME_SUCCEEDED, .job = "of another run"};
    (void)store;
    assert_int_equal(with_text, fake.with_text);
    fake.reads++;
    fake.asked += count;
    if (fake.reads == fake.failing)
        return bw_fail(error, BW_UNAVAILABLE, "away");
    each(&result, context);
    for (size_t i = count; i-- > 0;) { /* in no order that the reader may rely on */
        uint32_t slot;
        assert_true(run_job_id_slot(&run, jobs[i], &slot));
        memcpy(result.job, jobs[i], sizeof result.job);
        if (slot % 2 == 0)
            each(&result, context);
    }
    return BW_OK;
}

static unsigned taken[STUDENTS];
static uint32_t items[STUDENTS];

static void take(uint32_t slot, const struct result *result, void *context)
{
    assert_ptr_equal(context, taken);
    assert_int_equal(result->outcome, OUTCOME_SUCCEEDED);
    taken[slot]++;
}

static int start(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(taken, 0, sizeof taken);
    for (uint32_t slot = 0; slot < STUDENTS; slot++)
        items[slot] = slot;
    return 0;
}

static enum bw_code read_results(uint32_t count)
{
    const struct job_results reader = {
        .run = &run, .with_text = fake.with_text, .take = take, .context = taken};
    const struct slot_list slots = {items, count};
    struct bw_error error;
    return job_results_read(&reader, &slots, &error);
}

static void every_result_is_taken_once(void **state)
{
    (void)state;
    assert_int_equal(read_results(STUDENTS), BW_OK);
    for (uint32_t slot = 0; slot < STUDENTS; slot++)
        assert_int_equal(taken[slot], slot % 2 == 0);
    assert_int_equal(fake.asked, STUDENTS);
    assert_int_equal(fake.reads, (STUDENTS + CHUNK - 1) / CHUNK);
}

static void texts_are_read_if_asked_for(void **state)
{
    (void)state;
    fake.with_text = true;
    items[0] = 8;
    assert_int_equal(read_results(1), BW_OK);
    assert_int_equal(taken[8], 1);
}

static void a_failed_read_is_reported_and_ends_the_reading(void **state)
{
    (void)state;
    fake.failing = 2;
    assert_int_equal(read_results(STUDENTS), BW_UNAVAILABLE);
    assert_int_equal(fake.reads, 2);
}

static void no_jobs_cost_no_read(void **state)
{
    (void)state;
    assert_int_equal(read_results(0), BW_OK);
    assert_int_equal(fake.reads, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_result_is_taken_once, start),
        cmocka_unit_test_setup(texts_are_read_if_asked_for, start),
        cmocka_unit_test_setup(a_failed_read_is_reported_and_ends_the_reading, start),
        cmocka_unit_test_setup(no_jobs_cost_no_read, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
