#include "api/internal/hand_outs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/delivery_table.h"
#include "api/http/memory_budget.h"
#include "api/metrics.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/base/text_buffer.h"
#include "common/domain/run_definition.h"
#include "common/store/definition_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "tests/unit/fake_exchange.h"
#include "tests/unit/fake_signal_store.h"

enum {
    MIB = 1024 * 1024,
    POLLS = 8,
    WAIT_MS = 100000000,
    OWN = 32 * MIB,      /* limit of the hand-outs' pool */
    SHARED = 288 * MIB,  /* limit shared by all pools */
    STUDENTS = 150000,   /* a definition that is larger than OWN when parsed */
    LONG_VALUE = 300000, /* a value that makes a job larger than MEMORY_FIRST_BYTES */
};

static const char *const runs[] = {"6b05c5d2164163397800c810", "6b05c5d2164163397800c811"};

struct fixture {
    struct api api;
    struct exchange exchanges[POLLS];
    size_t parked;
    char *texts[2];                       /* the runs' definitions */
    struct memory_hold unknown[2], other; /* memory held by other senders and by other hand-outs */
    size_t reads, builds;
    int64_t step_ms; /* duration of each answer */
    _Atomic int64_t now_ms;
};

static struct fixture *fixture;

/* ---- Fakes of the stores, the exchange and the clock: tests/unit/CMakeLists.txt ---- */

enum bw_code __wrap_run_store_read_definition(struct run_store *store, const char *run_id,
                                              char **text, size_t *length, struct bw_error *error);
enum bw_code __wrap_definition_store_read(struct definition_store *store, const char *run_id,
                                          char **text, size_t *length, struct bw_error *error);
enum bw_code __real_definition_job_payload(const struct definition *definition,
                                           const struct job_id *job, uint32_t attempt,
                                           char **payload, struct bw_error *error);
enum bw_code __wrap_definition_job_payload(const struct definition *definition,
                                           const struct job_id *job, uint32_t attempt,
                                           char **payload, struct bw_error *error);
enum bw_code __wrap_result_store_read_files(struct result_store *store, const char *job,
                                            char **files, struct bw_error *error);
void __wrap_exchange_answer_held(struct exchange *exchange, char *body, struct memory_hold *hold);
bool __wrap_exchange_is_gone(const struct exchange *exchange);
int64_t __real_clock_boot_ms(void);
int64_t __wrap_clock_boot_ms(void);
int64_t __wrap_database_now_ms(const struct database *database);

json_t *__wrap_image_pins_of_job(struct image_pins *pins, const struct definition *definition,
                                 const struct job_id *job, const char *worker);

json_t *__wrap_image_pins_of_job(struct image_pins *pins, const struct definition *definition,
                                 const struct job_id *job, const char *worker)
{
    (void)pins, (void)definition, (void)job, (void)worker;
    return NULL;
}

int64_t __wrap_database_now_ms(const struct database *database)
{
    (void)database;
    return 1;
}

enum bw_code __wrap_run_store_read_definition(struct run_store *store, const char *run_id,
                                              char **text, size_t *length, struct bw_error *error)
{
    (void)store, (void)text, (void)length;
    return bw_fail(error, BW_NOT_FOUND, "'%s' is long", run_id);
}

enum bw_code __wrap_definition_store_read(struct definition_store *store, const char *run_id,
                                          char **text, size_t *length, struct bw_error *error)
{
    (void)store, (void)error;
    const char *found = fixture->texts[strcmp(run_id, runs[0]) == 0 ? 0 : 1];
    fixture->reads++;
    *text = bw_copy(found);
    *length = strlen(found);
    return BW_OK;
}

enum bw_code __wrap_definition_job_payload(const struct definition *definition,
                                           const struct job_id *job, uint32_t attempt,
                                           char **payload, struct bw_error *error)
{
    fixture->builds++;
    return __real_definition_job_payload(definition, job, attempt, payload, error);
}

/* The job before the students has shared nothing. */
enum bw_code __wrap_result_store_read_files(struct result_store *store, const char *job,
                                            char **files, struct bw_error *error)
{
    (void)store, (void)job, (void)error;
    *files = NULL;
    return BW_OK;
}

void __wrap_exchange_answer_held(struct exchange *exchange, char *body, struct memory_hold *hold)
{
    free(body);
    memory_hold_release(hold);
    atomic_fetch_add(&exchange->answers, 1);
    atomic_fetch_add(&fixture->now_ms, fixture->step_ms);
}

bool __wrap_exchange_is_gone(const struct exchange *exchange)
{
    return fake_exchange_is_gone(exchange);
}

/* The clock advances only with answers. */
int64_t __wrap_clock_boot_ms(void)
{
    return fixture == NULL ? __real_clock_boot_ms() : atomic_load(&fixture->now_ms);
}

/* ---- Definitions ---- */

/* A definition with a pre-processing pipeline and `students` students, each with a value of
 * `value_bytes` bytes. */
static char *make_text(size_t students, size_t value_bytes)
{
    struct text_buffer buffer = {0};
    char *value = bw_alloc(value_bytes + 1);
    memset(value, 'x', value_bytes);
    text_buffer_add_text(
        &buffer, "{\"preprocessing_pipeline\":[{\"image\":\"i\"}],"
                 "\"student_pipeline\":[{\"image\":\"i\",\"env\":{\"E\":\"$N\"}}],\"students\":[");
    for (size_t i = 0; i < students; i++) {
        text_buffer_add_text(&buffer, i > 0 ? ",{\"N\":\"" : "{\"N\":\"");
        text_buffer_add_text(&buffer, value);
        text_buffer_add_text(&buffer, "\"}");
    }
    text_buffer_add_text(&buffer, "]}");
    free(value);
    return text_buffer_take(&buffer);
}

/* Puts the run's definition into the cache. */
static void cache_definition(size_t run)
{
    struct definition *definition;
    struct bw_error error;
    const char *text = fixture->texts[run];
    assert_int_equal(definition_load(text, strlen(text), NULL, &definition, &error), BW_OK);
    definition_cache_put(fixture->api.definitions, runs[run], definition);
    definition_release(definition);
}

/* ---- One callback ---- */

static void at_snapshot(void *context)
{
    (void)context;
}

static int64_t poll_number(const char *worker)
{
    struct poll_snapshot all;
    int64_t number = 0;
    poll_table_snapshot(fixture->api.polls, true, &all, at_snapshot, NULL);
    for (int64_t i = 0; i < all.count; i++)
        if (strcmp(all.polls[i].worker, worker) == 0)
            number = all.polls[i].poll;
    free(all.polls);
    assert_int_not_equal(number, 0);
    return number;
}

/* Adds a hand-out for a new worker, and parks the worker's poll. */
static void add_job(json_t *list, const char *job)
{
    char worker[WORKER_ID_SIZE];
    snprintf(worker, sizeof worker, "w%zu", fixture->parked);
    poll_table_park(fixture->api.polls, &fixture->exchanges[fixture->parked++], worker, WAIT_MS);
    json_array_append_new(list,
                          json_pack("{s:I,s:s,s:s,s:i,s:i}", "poll", poll_number(worker), "worker",
                                    worker, "job", job, "attempt", 1, "expires_in_ms", WAIT_MS));
}

static void add(json_t *list, size_t run, enum job_kind kind, uint32_t index)
{
    char job[JOB_ID_SIZE];
    add_job(list, job_id_make(runs[run], kind, index, job));
}

/* Delivers the list and checks the outcomes, as in "delivered later". */
static void assert_outcomes(json_t *list, const char *expected)
{
    struct bw_error error;
    json_t *answer, *outcome;
    size_t index;
    char outcomes[256] = "";
    assert_int_equal(hand_outs_deliver(&fixture->api, list, true, &answer, &error), BW_OK);
    json_array_foreach (json_object_get(answer, "outcomes"), index, outcome) {
        size_t length = strlen(outcomes);
        snprintf(outcomes + length, sizeof outcomes - length, "%s%s", index > 0 ? " " : "",
                 json_string_value(outcome));
    }
    json_decref(answer);
    assert_string_equal(outcomes, expected);
}

/* ---- Memory ---- */

static void take(struct memory_hold *hold, enum memory_pool pool, const char *address, size_t bytes)
{
    struct bw_error error;
    memory_hold_begin(hold, fixture->api.memory, pool, address);
    assert_int_equal(memory_hold_take_parsed(hold, bytes, &error), BW_OK);
}

/* Lets other senders hold all shared memory. */
static void fill_shared(void)
{
    take(&fixture->unknown[0], MEMORY_UNKNOWN, "192.0.2.1", SHARED / 2);
    take(&fixture->unknown[1], MEMORY_UNKNOWN, "192.0.2.2", SHARED / 2);
}

/* Lets another hand-out hold `bytes` of the hand-outs' pool. */
static void hold_other(size_t bytes)
{
    take(&fixture->other, MEMORY_HAND_OUT, "", bytes + MEMORY_FIRST_BYTES);
    assert_int_equal(memory_budget_used(fixture->api.memory, MEMORY_HAND_OUT), bytes);
}

/* ---- Tests ---- */

static int setup(void **state)
{
    struct bw_error error;
    const struct signals_settings settings = {.heartbeat_every_ms = 60000, .send = fake_send};
    (void)state;
    fixture = bw_alloc(sizeof *fixture);
    struct api *api = &fixture->api;
    api->signals = signals_new(&settings);
    api->hand_outs = delivery_table_new();
    api->metrics = api_metrics_new();
    api->definitions = definition_cache_new(NULL, NULL, 64 * MIB);
    struct poll_table_settings polls = fake_poll_table_settings(api->signals);
    assert_int_equal(poll_table_open(&polls, &api->polls, &error), BW_OK);
    assert_int_equal(memory_budget_open(&api->memory, &error), BW_OK);
    return 0;
}

static int teardown(void **state)
{
    struct api *api = &fixture->api;
    (void)state;
    poll_table_close(api->polls);
    memory_hold_release(&fixture->other);
    for (size_t i = 0; i < 2; i++) {
        memory_hold_release(&fixture->unknown[i]);
        free(fixture->texts[i]);
    }
    for (int pool = 0; pool < MEMORY_POOLS; pool++)
        assert_int_equal(memory_budget_used(api->memory, (enum memory_pool)pool), 0);
    memory_budget_close(api->memory);
    definition_cache_free(api->definitions);
    metrics_free(api->metrics);
    delivery_table_free(api->hand_outs);
    signals_free(api->signals);
    free(fixture);
    fixture = NULL;
    return 0;
}

static void single_large_hand_out_always_fits(void **state)
{
    (void)state;
    json_auto_t *list = json_array();
    fixture->texts[0] = make_text(STUDENTS, 1);
    add(list, 0, JOB_PRE, 0);
    fill_shared();
    hold_other(MIB);
    assert_outcomes(list, "later");
    memory_hold_release(&fixture->other);
    assert_outcomes(list, "delivered");
}

static void memory_for_building_is_released_before_the_result_counts(void **state)
{
    (void)state;
    json_auto_t *list = json_array();
    fixture->texts[0] = make_text(200, 100000);
    cache_definition(0);
    add(list, 0, JOB_PRE, 0);
    fill_shared();
    hold_other(MIB);
    assert_outcomes(list, "delivered");
}

static void definition_without_memory_is_read_once_per_callback(void **state)
{
    (void)state;
    json_auto_t *list = json_array();
    fixture->texts[0] = make_text(STUDENTS, 1);
    fixture->texts[1] = make_text(STUDENTS, 1);
    for (uint32_t i = 0; i < POLLS; i++)
        add(list, i % 2, JOB_STUDENT, i);
    fill_shared();
    hold_other(MIB);
    assert_outcomes(list, "later later later later later later later later");
    assert_int_equal(fixture->reads, 2);
}

static void payload_without_memory_does_not_block_another_run(void **state)
{
    (void)state;
    json_auto_t *list = json_array();
    fixture->texts[0] = make_text(4, LONG_VALUE);
    fixture->texts[1] = make_text(2, 1);
    cache_definition(0);
    cache_definition(1);
    for (uint32_t i = 0; i < 4; i++)
        add(list, 0, JOB_STUDENT, i);
    add(list, 1, JOB_STUDENT, 0);
    add(list, 1, JOB_STUDENT, 1);
    fill_shared();
    hold_other(OWN);
    assert_outcomes(list, "later later later later delivered later");
    assert_int_equal(fixture->builds, 2);
}

static void first_put_off_hand_out_is_built_first_next_time(void **state)
{
    (void)state;
    json_auto_t *list = json_array();
    fixture->texts[0] = make_text(2, 1);
    fixture->texts[1] = make_text(4, LONG_VALUE);
    cache_definition(0);
    add(list, 0, JOB_STUDENT, 0);
    add(list, 1, JOB_PRE, 0); /* it must be read first, which is expensive */
    add(list, 0, JOB_STUDENT, 1);
    fixture->step_ms = 1000;
    assert_outcomes(list, "delivered delivered later");
    assert_int_equal(fixture->reads, 1);
}

static void bad_job_id_is_undeliverable(void **state)
{
    (void)state;
    json_auto_t *list = json_array();
    fixture->texts[0] = make_text(1, 1);
    cache_definition(0);
    add_job(list, "6b05c5d2164163397800c81bffffffff");
    add(list, 0, JOB_STUDENT, 0);
    assert_outcomes(list, "undeliverable delivered");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(single_large_hand_out_always_fits),
        TEST(memory_for_building_is_released_before_the_result_counts),
        TEST(definition_without_memory_is_read_once_per_callback),
        TEST(payload_without_memory_does_not_block_another_run),
        TEST(first_put_off_hand_out_is_built_first_next_time),
        TEST(bad_job_id_is_undeliverable),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
