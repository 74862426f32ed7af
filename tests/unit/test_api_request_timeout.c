#include "api/http/request_timeout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { REQUEST_MS = 10000, MANY = 2, CLIENTS = 4, SLACK_MS = 5000 };

/* Connections by socket pairs: [0] is the server's end. */
static struct timeout *timeout;
static struct timed_request *timed_requests[CLIENTS];
static int ends[CLIENTS][2];
static int64_t begun_ms;

static void refuse(int fd, void *owner)
{
    assert_ptr_equal(owner, &ends);
    (void)!send(fd, "late", 4, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int start(void **state)
{
    (void)state;
    struct bw_error error;
    const struct request_timeout_settings settings = {
        .request_ms = REQUEST_MS, .many = MANY, .name = "test", .refuse = refuse};
    if (request_timeout_open(&settings, &timeout, &error) != BW_OK)
        return -1;
    begun_ms = clock_boot_ms();
    for (int i = 0; i < CLIENTS; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) != 0)
            return -1;
        timed_requests[i] = request_timeout_add(timeout, ends[i][0], &ends);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        request_timeout_remove(timeout, timed_requests[i]);
        close(ends[i][0]);
        close(ends[i][1]);
    }
    request_timeout_close(timeout);
    return 0;
}

/* What the client reads: the number of bytes, 0 at the end of the connection, -1: it is open. */
static int heard(int client)
{
    char bytes[16];
    return (int)recv(ends[client][1], bytes, sizeof bytes, MSG_DONTWAIT);
}

static void one_that_says_nothing_is_ended_without_a_word(void **state)
{
    (void)state;
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + REQUEST_MS - 1), 0);
    assert_int_equal(heard(0), -1);
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + REQUEST_MS + SLACK_MS), CLIENTS);
    assert_int_equal(heard(0), 0);
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + 10 * REQUEST_MS), 0);
}

static void one_that_began_is_told_that_it_is_late(void **state)
{
    (void)state;
    timed_request_begin(timed_requests[0]);
    request_timeout_sweep(timeout, begun_ms + REQUEST_MS + SLACK_MS);
    assert_int_equal(heard(0), 4);
    assert_int_equal(heard(0), 0);
}

static void a_whole_request_has_all_the_time_until_the_next(void **state)
{
    (void)state;
    timed_request_begin(timed_requests[0]);
    timed_request_finish(timed_requests[0]);
    timed_request_begin(timed_requests[1]);
    timed_request_finish(timed_requests[1]);
    timed_request_rest(timed_requests[1]);
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + REQUEST_MS + SLACK_MS), CLIENTS - 2);
    assert_int_equal(heard(0), -1);
    assert_int_equal(heard(1), -1);
    int64_t idle_ms = REQUEST_MS + REQUEST_TIMEOUT_IDLE_MS + SLACK_MS;
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + idle_ms), 1);
    assert_int_equal(heard(0), -1);
    assert_int_equal(heard(1), 0);
}

static void what_comes_of_a_body_earns_time_and_no_more_than_is_allowed(void **state)
{
    (void)state;
    enum { LATER_MS = 20 };
    for (int i = 0; i < 2; i++)
        timed_request_begin(timed_requests[i]);
    usleep(2 * LATER_MS * 1000); /* some of the time that is allowed is used */
    timed_request_receive(timed_requests[0], REQUEST_TIMEOUT_BYTES * LATER_MS / 1000);
    timed_request_receive(timed_requests[1], 1000 * REQUEST_TIMEOUT_BYTES);
    int64_t now_ms = clock_boot_ms();
    for (int i = 2; i < CLIENTS; i++)
        timed_request_finish(timed_requests[i]);
    assert_int_equal(request_timeout_sweep(timeout, now_ms + REQUEST_MS - LATER_MS / 2), 1);
    assert_int_equal(heard(0), 4);
    assert_int_equal(heard(1), -1);
    assert_int_equal(request_timeout_sweep(timeout, now_ms + REQUEST_MS + 1), 1);
    assert_int_equal(heard(1), 4);
}

static void the_more_of_a_body_is_held_the_more_a_second_costs(void **state)
{
    (void)state;
    enum { MIB = 1024 * 1024 };
    assert_int_equal(request_timeout_earned(0, 1024), 1000);
    assert_int_equal(request_timeout_earned(256 * 1024, 1024), 1000);
    assert_int_equal(request_timeout_earned(MIB, 4096), 1000);
    assert_int_equal(request_timeout_earned(16 * MIB, 64 * 1024), 1000);
    assert_int_equal(request_timeout_earned(16 * MIB, 1200), 18);
    assert_int_equal(request_timeout_earned(1ull << 60, 1), 0);
}

/* Sixteen megabytes at once, then 1.2 KB a second: over after little more than what is allowed. */
static void a_drip_behind_a_large_body_is_ended(void **state)
{
    (void)state;
    enum { MIB = 1024 * 1024 };
    timed_request_begin(timed_requests[0]);
    timed_request_receive(timed_requests[0], 16 * MIB);
    for (int second = 0; second < 15; second++)
        timed_request_receive(timed_requests[0], 1200);
    for (int i = 1; i < CLIENTS; i++)
        timed_request_finish(timed_requests[i]);
    assert_int_equal(request_timeout_sweep(timeout, clock_boot_ms() + REQUEST_MS + 15 * 20), 1);
    assert_int_equal(heard(0), 4);
}

static void while_very_many_are_unfinished_the_time_is_short(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++)
        timed_request_begin(timed_requests[i]);
    int64_t now_ms = clock_boot_ms();
    assert_int_equal(request_timeout_sweep(timeout, now_ms + REQUEST_TIMEOUT_SHORT_MS), 0);
    timed_request_begin(timed_requests[MANY]);
    assert_int_equal(request_timeout_sweep(timeout, now_ms), 0);
    now_ms = clock_boot_ms();
    assert_int_equal(request_timeout_sweep(timeout, now_ms + REQUEST_TIMEOUT_SHORT_MS), MANY + 1);
    assert_int_equal(heard(CLIENTS - 1), -1); /* it has begun nothing: it keeps nobody out */
}

static void where_memory_was_short_nothing_happens(void **state)
{
    (void)state;
    timed_request_begin(NULL);
    timed_request_receive(NULL, 1);
    timed_request_finish(NULL);
    timed_request_rest(NULL);
    request_timeout_remove(timeout, NULL);
    request_timeout_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_says_nothing_is_ended_without_a_word, start, stop),
        cmocka_unit_test_setup_teardown(one_that_began_is_told_that_it_is_late, start, stop),
        cmocka_unit_test_setup_teardown(a_whole_request_has_all_the_time_until_the_next, start,
                                        stop),
        cmocka_unit_test_setup_teardown(what_comes_of_a_body_earns_time_and_no_more_than_is_allowed,
                                        start, stop),
        cmocka_unit_test_setup_teardown(the_more_of_a_body_is_held_the_more_a_second_costs, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_drip_behind_a_large_body_is_ended, start, stop),
        cmocka_unit_test_setup_teardown(while_very_many_are_unfinished_the_time_is_short, start,
                                        stop),
        cmocka_unit_test_setup_teardown(where_memory_was_short_nothing_happens, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
