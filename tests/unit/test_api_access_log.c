#include "api/http/access_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "api/metrics.h"
#include "api/http/route.h"
#include "common/base/clock.h"
#include "common/base/log.h"

static const struct route poll = {
    .method = "GET", .path = "/api/v1/grading_job", .auth = AUTH_WORKER};
static const struct route result = {
    .method = "POST", .path = "/api/v1/grading_job/{id}", .auth = AUTH_WORKER};
static const struct route callback = {.method = "POST",
                                      .path = "/internal/v1/callbacks",
                                      .auth = AUTH_INTERNAL,
                                      .flags = ROUTE_QUIET};

static struct request request_of(const struct route *route, const char *path_id)
{
    return (struct request){.route = route,
                            .method = route != NULL ? route->method : "BREW",
                            .path_id = path_id,
                            .address = "192.0.2.1",
                            .number = 7,
                            .received_ms = clock_boot_ms()};
}

static void requests_are_counted_by_status(void **state)
{
    (void)state;
    static const int statuses[] = {200, 200, 400, 498, 503, 500};
    struct metrics *metrics = api_metrics_new();
    struct request request = request_of(&result, "");
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        access_log_write(metrics, &request, statuses[i]);
    assert_int_equal(metric_read(metrics, API_REQUESTS_2XX), 2);
    assert_int_equal(metric_read(metrics, API_REQUESTS_4XX), 1);
    assert_int_equal(metric_read(metrics, API_REQUESTS_498), 1);
    assert_int_equal(metric_read(metrics, API_REQUESTS_5XX), 2);
    metrics_free(metrics);
}

static void polls_do_not_count_as_slow_requests(void **state)
{
    (void)state;
    struct metrics *metrics = api_metrics_new();
    struct request waited = request_of(&poll, ""), worked = request_of(&result, "");
    waited.received_ms -= 18000;
    worked.received_ms -= 50;
    access_log_write(metrics, &waited, 498);
    access_log_write(metrics, &worked, 200);
    assert_in_range(metric_read(metrics, API_REQUEST_SECONDS), 50000, 5000000);
    metrics_free(metrics);
}

/* The access log's line for the request; "": none was written. */
static const char *line_of(const struct request *request, int status)
{
    static char text[4096];
    struct metrics *metrics = api_metrics_new();
    int ends[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_open("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    access_log_write(metrics, request, status);
    log_close();
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    metrics_free(metrics);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

static void line_has_client_request_and_outcome(void **state)
{
    (void)state;
    struct request request = request_of(&result, "ab\nx");
    assert_non_null(
        strstr(line_of(&request, 400),
               " level=info event=request request_id=0-7 method=POST "
               "path=\"/api/v1/grading_job/{id}\" id=\"ab\\u000ax\" status=400 took_ms="));
    assert_non_null(strstr(line_of(&request, 500), " level=error event=request "));
    assert_non_null(strstr(line_of(&request, 503), " level=warning event=request "));
    request.given_id = "client-made.7";
    assert_non_null(strstr(line_of(&request, 200), " request_id=client-made.7 "));
}

static void quiet_routes_are_quiet_unless_they_fail(void **state)
{
    (void)state;
    struct request request = request_of(&callback, "");
    assert_string_equal(line_of(&request, 200), "");
    assert_string_not_equal(line_of(&request, 503), "");
}

static void reads_polls_and_heartbeats_are_logged_at_debug(void **state)
{
    (void)state;
    static const struct route routes[] = {
        {.method = "GET", .path = "/api/v1/grading_job", .auth = AUTH_WORKER},
        {.method = "GET", .path = "/api/v1/grading_run/{id}", .auth = AUTH_CLIENT},
        {.method = "GET", .path = "/api/v1/queue/{course}/length", .auth = AUTH_CLIENT},
        {.method = "POST", .path = "/api/v1/heartbeat", .flags = ROUTE_QUIET},
    };
    static const struct route registration = {
        .method = "GET", .path = "/api/v1/worker_register", .auth = AUTH_CLUSTER};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        struct request request = request_of(&routes[i], "");
        assert_string_equal(line_of(&request, 200), "");
        assert_string_equal(line_of(&request, 498), "");
        request.refusal = "the client token is wrong";
        assert_non_null(strstr(line_of(&request, 401), " reason=\"the client token is wrong\""));
    }
    struct request request = request_of(&registration, "");
    assert_string_not_equal(line_of(&request, 200), "");
}

static void refusal_reason_has_no_worker_id_and_no_unknown_path(void **state)
{
    (void)state;
    struct request request = request_of(&result, "");
    request.refusal = "worker '0123456789abcdef0123456789abcdef' is not known: register first";
    assert_non_null(
        strstr(line_of(&request, 400), " reason=\"worker '...' is not known: register first\""));
    request.refusal = "there is no grading run '0123456789abcdef01234567'";
    assert_non_null(strstr(line_of(&request, 400), "'0123456789abcdef01234567'"));
    request.refusal = "there is nothing at /canary";
    request.route = NULL;
    request.protocol = NULL;
    assert_null(strstr(line_of(&request, 404), "canary"));
    assert_non_null(strstr(line_of(&request, 404), " reason=\"there is nothing at this path\""));
}

static void request_without_a_route_is_logged(void **state)
{
    (void)state;
    struct request request = request_of(NULL, "");
    assert_non_null(strstr(line_of(&request, 404), "path=unknown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_counted_by_status),
        cmocka_unit_test(polls_do_not_count_as_slow_requests),
        cmocka_unit_test(line_has_client_request_and_outcome),
        cmocka_unit_test(quiet_routes_are_quiet_unless_they_fail),
        cmocka_unit_test(reads_polls_and_heartbeats_are_logged_at_debug),
        cmocka_unit_test(refusal_reason_has_no_worker_id_and_no_unknown_path),
        cmocka_unit_test(request_without_a_route_is_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
