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

/* The number of bytes that the client reads; 0: the connection was closed; -1: it is open. */
static int seen(int client)
{
    char bytes[16];
    return (int)recv(ends[client][1], bytes, sizeof bytes, MSG_DONTWAIT);
}

static void silent_connection_is_closed_without_an_answer(void **state)
{
    (void)state;
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + REQUEST_MS - 1), 0);
    assert_int_equal(seen(0), -1);
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + REQUEST_MS + SLACK_MS), CLIENTS);
    assert_int_equal(seen(0), 0);
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + 10 * REQUEST_MS), 0);
}

static void unfinished_request_is_answered_with_408(void **state)
{
    (void)state;
    timed_request_begin(timed_requests[0]);
    request_timeout_sweep(timeout, begun_ms + REQUEST_MS + SLACK_MS);
    assert_int_equal(seen(0), 4);
    assert_int_equal(seen(0), 0);
}

static void complete_request_resets_the_time(void **state)
{
    (void)state;
    timed_request_begin(timed_requests[0]);
    timed_request_finish(timed_requests[0]);
    timed_request_begin(timed_requests[1]);
    timed_request_finish(timed_requests[1]);
    timed_request_rest(timed_requests[1]);
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + REQUEST_MS + SLACK_MS), CLIENTS - 2);
    assert_int_equal(seen(0), -1);
    assert_int_equal(seen(1), -1);
    int64_t idle_ms = REQUEST_MS + REQUEST_TIMEOUT_IDLE_MS + SLACK_MS;
    assert_int_equal(request_timeout_sweep(timeout, begun_ms + idle_ms), 1);
    assert_int_equal(seen(0), -1);
    assert_int_equal(seen(1), 0);
}

static void bytes_of_a_body_extend_the_time_up_to_the_limit(void **state)
{
    (void)state;
    enum { LATER_MS = 20 };
    for (int i = 0; i < 2; i++)
        timed_request_begin(timed_requests[i]);
    usleep(2 * LATER_MS * 1000); /* uses a part of the allowed time */
    timed_request_receive(timed_requests[0], REQUEST_TIMEOUT_BYTES * LATER_MS / 1000);
    timed_request_receive(timed_requests[1], 1000 * REQUEST_TIMEOUT_BYTES);
    int64_t now_ms = clock_boot_ms();
    for (int i = 2; i < CLIENTS; i++)
        timed_request_finish(timed_requests[i]);
    assert_int_equal(request_timeout_sweep(timeout, now_ms + REQUEST_MS - LATER_MS / 2), 1);
    assert_int_equal(seen(0), 4);
    assert_int_equal(seen(1), -1);
    assert_int_equal(request_timeout_sweep(timeout, now_ms + REQUEST_MS + 1), 1);
    assert_int_equal(seen(1), 4);
}

static void larger_held_bodies_need_a_higher_rate(void **state)
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

/* Sixteen megabytes at once, then 1.2 KB a second: refused soon after the allowed time. */
static void slow_tail_of_a_large_body_is_ended(void **state)
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
    assert_int_equal(seen(0), 4);
}

static void many_unfinished_requests_shorten_the_time(void **state)
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
    assert_int_equal(seen(CLIENTS - 1), -1); /* it has sent nothing, so it is not closed */
}

static void pause_does_not_use_up_time(void **state)
{
    (void)state;
    enum { PAUSE_MS = 40 };
    for (int i = 0; i < CLIENTS; i++)
        timed_request_finish(timed_requests[i]);
    int64_t before_ms = clock_boot_ms();
    timed_request_begin(timed_requests[0]);
    timed_request_pause(timed_requests[0]);
    assert_int_equal(request_timeout_sweep(timeout, before_ms + 10 * REQUEST_MS), 0);
    usleep(PAUSE_MS * 1000);
    timed_request_resume(timed_requests[0]);
    assert_int_equal(request_timeout_sweep(timeout, before_ms + REQUEST_MS + PAUSE_MS / 2), 0);
    assert_int_equal(request_timeout_sweep(timeout, clock_boot_ms() + REQUEST_MS), 1);
    assert_int_equal(seen(0), 4);
    timed_request_pause(timed_requests[0]);
    timed_request_resume(timed_requests[0]);
    assert_int_equal(request_timeout_sweep(timeout, before_ms + 10 * REQUEST_MS), 0);
}

static void out_of_memory_changes_nothing(void **state)
{
    (void)state;
    timed_request_begin(NULL);
    timed_request_receive(NULL, 1);
    timed_request_pause(NULL);
    timed_request_resume(NULL);
    timed_request_finish(NULL);
    timed_request_rest(NULL);
    request_timeout_remove(timeout, NULL);
    request_timeout_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silent_connection_is_closed_without_an_answer, start, stop),
        cmocka_unit_test_setup_teardown(unfinished_request_is_answered_with_408, start, stop),
        cmocka_unit_test_setup_teardown(complete_request_resets_the_time, start, stop),
        cmocka_unit_test_setup_teardown(bytes_of_a_body_extend_the_time_up_to_the_limit, start,
                                        stop),
        cmocka_unit_test_setup_teardown(larger_held_bodies_need_a_higher_rate, start, stop),
        cmocka_unit_test_setup_teardown(slow_tail_of_a_large_body_is_ended, start, stop),
        cmocka_unit_test_setup_teardown(many_unfinished_requests_shorten_the_time, start, stop),
        cmocka_unit_test_setup_teardown(pause_does_not_use_up_time, start, stop),
        cmocka_unit_test_setup_teardown(out_of_memory_changes_nothing, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
