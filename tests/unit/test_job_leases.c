#include "common/store/job_leases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "common/store/run_jobs.h"

#define RUN "0123456789abcdef01234567"

enum { STUDENTS = 2000, CHUNK = JOB_LEASES_CHUNK, PROBE_CHUNK = 1024, ATTEMPTS = 12 };

/* A fake of the store: how the attempts of each job ended; -1: there is none. */
static struct {
    int ends[STUDENTS][ATTEMPTS];
    size_t reads, asked;
    size_t failing; /* the read of this number fails; 0: none */
} fake;

static const struct run run = {.id = RUN, .students = STUDENTS};
/* Nothing of it was ever handed out. */
static const struct run other_run = {.id = "89abcdef0123456789abcdef", .students = STUDENTS};
static uint32_t taken[STUDENTS];

enum bw_code lease_store_read(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                              size_t count, uint32_t first, uint32_t window,
                              void (*each)(const struct lease *lease, void *context), void *context,
                              struct bw_error *error)
{
    (void)store;
    fake.reads++;
    fake.asked += count * window;
    if (fake.reads == fake.failing)
        return bw_fail(error, BW_UNAVAILABLE, "away");
    for (size_t i = count; i-- > 0;) /* the order of the leases is not specified */
        for (uint32_t attempt = first; attempt < first + window; attempt++) {
            uint32_t slot;
            if (run_job_id_slot(&other_run, jobs[i], &slot))
                continue;
            assert_true(run_job_id_slot(&run, jobs[i], &slot));
            if (attempt > ATTEMPTS || fake.ends[slot][attempt - 1] < 0)
                continue;
            struct lease lease = {.attempt = attempt,
                                  .end = (enum lease_end)fake.ends[slot][attempt - 1]};
            memcpy(lease.job, jobs[i], sizeof lease.job);
            each(&lease, context);
        }
    return BW_OK;
}

static void take(uint32_t slot, const struct lease *lease, void *context)
{
    (void)context;
    assert_int_equal(taken[slot] & 1u << lease->attempt, 0); /* none is taken twice */
    taken[slot] |= 1u << lease->attempt;
}

static const struct job_leases reader = {.run = &run, .take = take};
static uint32_t items[STUDENTS];

static int start(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(fake.ends, -1, sizeof fake.ends);
    memset(taken, 0, sizeof taken);
    for (uint32_t slot = 0; slot < STUDENTS; slot++)
        items[slot] = slot;
    return 0;
}

static void end(uint32_t slot, uint32_t attempts, enum lease_end last)
{
    for (uint32_t i = 0; i < attempts; i++)
        fake.ends[slot][i] = (int)(i + 1 < attempts ? LEASE_LOST : last);
}

static void first_attempts_are_read_to_the_first_chunk_without_any(void **state)
{
    (void)state;
    struct bw_error error;
    struct slot_list slots = {items, STUDENTS};
    end(0, 1, LEASE_LIVE);
    end(300, 1, LEASE_LOST);
    end(511, 1, LEASE_LIVE);
    assert_int_equal(job_leases_read_first(&reader, &slots, &error), BW_OK);
    assert_int_equal(fake.reads, 3); /* the third chunk has none */
    assert_int_equal(fake.asked, 3 * CHUNK);
    assert_int_equal(slots.count, 3);
    assert_int_equal(items[0], 0);
    assert_int_equal(items[1], 300);
    assert_int_equal(items[2], 511);
    assert_int_equal(taken[300], 1u << 1);
}

/* A batch of 256 leases may be missing although the next batch exists. */
static void reading_continues_after_a_gap_of_one_batch(void **state)
{
    (void)state;
    struct bw_error error;
    for (uint32_t missing = 0; missing < 600; missing += 64) {
        struct slot_list slots = {items, STUDENTS};
        start(NULL);
        for (uint32_t slot = 0; slot < 1000; slot++)
            if (slot < missing || slot >= missing + 256)
                end(slot, 1, LEASE_LIVE);
        assert_int_equal(job_leases_read_first(&reader, &slots, &error), BW_OK);
        assert_int_equal(slots.count, 1000 - 256);
    }
}

static void later_attempts_are_read_while_all_exist_and_have_ended(void **state)
{
    (void)state;
    struct bw_error error;
    struct slot_list slots = {items, 3};
    end(0, 1, LEASE_LOST);
    end(1, 9, LEASE_EXPIRED);
    end(2, 4, LEASE_LIVE);
    assert_int_equal(job_leases_read_on(&reader, &slots, 2, &error), BW_OK);
    assert_int_equal(taken[0], 0);
    assert_int_equal(taken[1], 0x3fc); /* 2 to 9 */
    assert_int_equal(taken[2], 0x1c);
    assert_int_equal(fake.reads, 3); /* of the second job only: 5 to 7, and 8 to 10 */
}

static void later_attempts_of_many_jobs_are_read_together(void **state)
{
    (void)state;
    struct bw_error error;
    struct slot_list slots = {items, CHUNK};
    for (uint32_t slot = 0; slot < CHUNK; slot++)
        end(slot, 3, LEASE_LIVE);
    assert_int_equal(job_leases_read_on(&reader, &slots, 2, &error), BW_OK);
    assert_int_equal(fake.reads, 1);
    assert_int_equal(taken[CHUNK - 1], 0xc);
}

static void a_failed_read_is_reported(void **state)
{
    (void)state;
    struct bw_error error;
    struct slot_list slots = {items, STUDENTS};
    for (uint32_t slot = 0; slot < STUDENTS; slot++)
        end(slot, 4, LEASE_LOST);
    fake.failing = 2;
    assert_int_equal(job_leases_read_first(&reader, &slots, &error), BW_UNAVAILABLE);
    fake.reads = 0;
    assert_int_equal(job_leases_read_on(&reader, &slots, 2, &error), BW_UNAVAILABLE);
}

static void no_read_without_jobs(void **state)
{
    (void)state;
    struct bw_error error;
    struct slot_list slots = {items, 0};
    assert_int_equal(job_leases_read_first(&reader, &slots, &error), BW_OK);
    assert_int_equal(job_leases_read_on(&reader, &slots, 2, &error), BW_OK);
    assert_int_equal(fake.reads, 0);
}

static void count_found(const char *id, void *context)
{
    unsigned *found = context;
    assert_string_equal(id, RUN);
    ++*found;
}

static void a_probe_reads_the_first_attempts_of_many_runs_together(void **state)
{
    (void)state;
    struct bw_error error;
    unsigned found = 0;
    struct job_leases_probe probe = {.take = count_found, .context = &found};
    end(7, 2, LEASE_LOST);
    end(40, 1, LEASE_LIVE);
    end(100, 1, LEASE_LIVE); /* not asked for */
    assert_int_equal(job_leases_probe_add(&probe, &other_run, 0, 1000, &error), BW_OK);
    assert_int_equal(fake.reads, 0);
    assert_int_equal(job_leases_probe_add(&probe, &run, 0, 100, &error), BW_OK);
    assert_int_equal(fake.reads, 1);
    assert_int_equal(fake.asked, PROBE_CHUNK);
    assert_int_equal(found, 1);
    assert_int_equal(job_leases_probe_flush(&probe, &error), BW_OK);
    assert_int_equal(fake.asked, 1100);
    assert_int_equal(found, 2);
    assert_int_equal(job_leases_probe_flush(&probe, &error), BW_OK);
    assert_int_equal(fake.reads, 2); /* nothing was left to be read */
    job_leases_probe_clear(&probe);
}

static void a_failed_read_of_a_probe_is_reported(void **state)
{
    (void)state;
    struct bw_error error;
    unsigned found = 0;
    struct job_leases_probe probe = {.take = count_found, .context = &found};
    fake.failing = 1;
    assert_int_equal(job_leases_probe_add(&probe, &run, 0, STUDENTS, &error), BW_UNAVAILABLE);
    assert_int_equal(fake.reads, 1);
    assert_int_equal(job_leases_probe_add(&probe, &run, 0, 1, &error), BW_OK);
    fake.failing = 2;
    assert_int_equal(job_leases_probe_flush(&probe, &error), BW_UNAVAILABLE);
    job_leases_probe_clear(&probe);
}

/* The attempts of a job whose result is known are counted from the first one on. */
static void all_attempts_of_a_job_can_be_read(void **state)
{
    (void)state;
    struct bw_error error;
    struct slot_list slots = {items, 2};
    end(0, 1, LEASE_LIVE);
    end(1, 4, LEASE_LIVE);
    assert_int_equal(job_leases_read_on(&reader, &slots, 1, &error), BW_OK);
    assert_int_equal(taken[0], 0x2);
    assert_int_equal(taken[1], 0x1e);
    assert_int_equal(fake.reads, 2);
}

static void ids_of_another_run_have_no_slot(void **state)
{
    (void)state;
    uint32_t slot;
    char id[JOB_ID_SIZE];
    assert_true(run_job_id_slot(&run, run_slot_job_id(&run, 77, id), &slot));
    assert_int_equal(slot, 77);
    id[0] = '1';
    assert_false(run_job_id_slot(&run, id, &slot));
    assert_false(run_job_id_slot(&run, "", &slot));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(first_attempts_are_read_to_the_first_chunk_without_any, start),
        cmocka_unit_test_setup(reading_continues_after_a_gap_of_one_batch, start),
        cmocka_unit_test_setup(later_attempts_are_read_while_all_exist_and_have_ended, start),
        cmocka_unit_test_setup(later_attempts_of_many_jobs_are_read_together, start),
        cmocka_unit_test_setup(a_failed_read_is_reported, start),
        cmocka_unit_test_setup(no_read_without_jobs, start),
        cmocka_unit_test_setup(all_attempts_of_a_job_can_be_read, start),
        cmocka_unit_test_setup(a_probe_reads_the_first_attempts_of_many_runs_together, start),
        cmocka_unit_test_setup(a_failed_read_of_a_probe_is_reported, start),
        cmocka_unit_test_setup(ids_of_another_run_have_no_slot, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
