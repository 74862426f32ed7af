#include "api/uplink/scheduler_queries.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/fake_replica.h"

enum { LONG_MS = 60000 };

struct fixture {
    struct fake_replica replica;
    struct queries *queries;
};

/* The answers that a caller has received. */
struct received {
    _Atomic int count;
    enum bw_code code;
    json_int_t value;
    char text[40];
};

static void take_answer(enum bw_code code, const struct query_answer *answer, void *context)
{
    struct received *received = context;
    received->code = code;
    received->value = answer != NULL ? json_integer_value(answer->value) : -1;
    snprintf(received->text, sizeof received->text, "%s", answer != NULL ? answer->text : "");
    atomic_fetch_add(&received->count, 1);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct bw_error error;
    fake_replica_open(&fixture->replica, 60000);
    assert_int_equal(signals_start(fixture->replica.signals, &error), BW_OK);
    assert_int_equal(scheduler_queries_open(fixture->replica.signals, &fixture->queries, &error),
                     BW_OK);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    scheduler_queries_close(fixture->queries);
    fake_replica_close(&fixture->replica);
    free(fixture);
    return 0;
}

static void ask(struct fixture *fixture, enum query_kind kind, const char *subject,
                int64_t timeout_ms, struct received *received)
{
    struct query query = {.kind = kind,
                          .request_timeout_ms = timeout_ms,
                          .answered = take_answer,
                          .context = received};
    snprintf(query.subject, sizeof query.subject, "%s", subject);
    scheduler_queries_ask(fixture->queries, &query);
}

static void bring(struct fixture *fixture, int64_t number, json_int_t value)
{
    json_t *answer = json_integer(value);
    scheduler_queries_answer(fixture->queries, number, answer);
    json_decref(answer);
}

/* True if the query with this number was sent. */
static bool has_asked(const struct signal *sent, size_t count, int64_t wanted)
{
    for (size_t i = 0; i < count; i++)
        for (size_t q = 0; q < sent[i].query_count; q++)
            if (sent[i].queries[q].number == wanted)
                return true;
    return false;
}

static bool has_asked_twice(const struct signal *sent, size_t count, int64_t wanted)
{
    size_t asked = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t q = 0; q < sent[i].query_count; q++)
            asked += sent[i].queries[q].number == wanted;
    return asked >= 2;
}

static void callers_during_a_query_share_the_next_one(void **state)
{
    struct fixture *fixture = *state;
    struct received first = {0}, later[3] = {0}, other = {0};
    ask(fixture, QUERY_LENGTH, "cs", LONG_MS, &first);
    for (int i = 0; i < 3; i++)
        ask(fixture, QUERY_LENGTH, "cs", LONG_MS, &later[i]);
    ask(fixture, QUERY_LENGTH, "other", LONG_MS, &other);
    assert_true(fake_store_wait(has_asked, 2));
    assert_false(has_asked(fake_store.sent, fake_store_count(), 3));
    bring(fixture, 1, 10);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.value, 10);
    assert_string_equal(first.text, "10");
    for (int i = 0; i < 3; i++)
        assert_int_equal(later[i].count, 0); /* that answer may be older than their queries */
    assert_true(fake_store_wait(has_asked, 3));
    bring(fixture, 1, 11); /* a second answer to the first query is ignored */
    bring(fixture, 3, 30);
    bring(fixture, 2, 20);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(later[i].count, 1);
        assert_int_equal(later[i].value, 30);
    }
    assert_int_equal(first.count, 1);
    assert_int_equal(other.value, 20);
}

static void query_without_an_answer_is_asked_again_under_its_number(void **state)
{
    struct fixture *fixture = *state;
    struct received received = {0};
    ask(fixture, QUERY_POSITION, "job", LONG_MS, &received);
    assert_true(fake_store_wait(has_asked_twice, 1));
    bring(fixture, 1, 5);
    assert_int_equal(received.value, 5);
}

static void wait_until_answered(struct received *received)
{
    int64_t until_ms = clock_boot_ms() + 5000;
    while (atomic_load(&received->count) == 0 && clock_boot_ms() < until_ms)
        fake_pause();
    assert_int_equal(received->count, 1);
}

static void query_is_sent_for_callers_left_after_the_first_timed_out(void **state)
{
    struct fixture *fixture = *state;
    struct received first = {0}, later = {0};
    ask(fixture, QUERY_ALIVE, "w", 50, &first);
    ask(fixture, QUERY_ALIVE, "w", LONG_MS, &later);
    wait_until_answered(&first);
    assert_int_equal(first.code, BW_UNAVAILABLE);
    assert_true(fake_store_wait(has_asked, 2));
    bring(fixture, 2, 7);
    assert_int_equal(later.value, 7);
}

static void too_many_waiting_callers_are_refused_at_once(void **state)
{
    static struct received received[LISTS_WAITING_MAX + 1];
    struct fixture *fixture = *state;
    struct received ended = {0};
    for (int i = 0; i <= LISTS_WAITING_MAX; i++)
        ask(fixture, QUERY_WORKERS, "", LONG_MS, &received[i]);
    assert_int_equal(received[LISTS_WAITING_MAX].count, 1);
    assert_int_equal(received[LISTS_WAITING_MAX].code, BW_UNAVAILABLE);
    assert_int_equal(received[LISTS_WAITING_MAX - 1].count, 0);
    ask(fixture, QUERY_ENDED, "w", LONG_MS, &ended);
    assert_int_equal(ended.count, 0);
    scheduler_queries_close(fixture->queries); /* answers all waiting callers */
    fixture->queries = NULL;
    for (int i = 0; i <= LISTS_WAITING_MAX; i++)
        assert_int_equal(received[i].count, 1);
    assert_int_equal(ended.code, BW_UNAVAILABLE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(callers_during_a_query_share_the_next_one),
        CASE(query_without_an_answer_is_asked_again_under_its_number),
        CASE(query_is_sent_for_callers_left_after_the_first_timed_out),
        CASE(too_many_waiting_callers_are_refused_at_once),
    };
    return cmocka_run_group_tests_name("scheduler_queries", tests, NULL, NULL);
}
