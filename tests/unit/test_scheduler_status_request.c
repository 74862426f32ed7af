#include "scheduler/io/status_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static int read_text(const char *text, struct status_request *request)
{
    return status_request_read(text, strlen(text), request);
}

static void complete_requests_are_read_without_their_query(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz?&&&& HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\nContent-Length:\r\n\r\n",
        "GET http://somewhere/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\n\r\nGET /healthz HTTP/1.1\nHost: x\n\n",
        "GET /healthz HTTP/1.1\r\nhOST:\r\n\r\nGET / HTTP/1.1\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct status_request request;
        assert_int_equal(read_text(texts[i], &request), STATUS_REQUEST_WHOLE);
        assert_string_equal(request.method, "GET");
        assert_string_equal(request.path, "/healthz");
    }
}

static void host_is_read_without_blanks_around_it(void **state)
{
    (void)state;
    char text[1024] = "GET / HTTP/1.1\r\nhOST: \tevil.example:1 \r\n\r\n";
    struct status_request request;
    assert_int_equal(read_text(text, &request), STATUS_REQUEST_WHOLE);
    assert_string_equal(request.host, "evil.example:1");
    assert_int_equal(read_text("GET / HTTP/1.0\r\n\r\n", &request), STATUS_REQUEST_WHOLE);
    assert_string_equal(request.host, "");
    char *value = strchr(text, 'e');
    memset(value, 'e', 500);
    memcpy(value + 500, "\r\n\r\n", sizeof "\r\n\r\n");
    assert_int_equal(read_text(text, &request), STATUS_REQUEST_WHOLE);
    assert_int_equal(strlen(request.host), STATUS_HOST_SIZE - 1);
}

static void assert_id(const char *text, const char *expected)
{
    char id[REQUEST_ID_SIZE];
    status_request_find_id(text, strlen(text), id);
    assert_string_equal(id, expected);
}

static void id_is_read_from_an_incomplete_request(void **state)
{
    (void)state;
    assert_id("GET / HTTP/1.1\r\nx-request-id: \ta.b-1 \r\nHost: x\r\n\r\n", "a.b-1");
    assert_id("GET / HTTP/9.1\r\nX-Request-Id:a\r\nX-Request-Id: b\r\nHos", "a");
    assert_id("GET / HTTP/1.1\r\nX-Request-Id: not who", "");
    assert_id("GET / HTTP/1.1\r\nX-Request-Id: two words\r\n", "");
    assert_id("GET / HTTP/1.1\r\nX-Request-Id:\r\n\r\n", "");
    assert_id("", "");
}

static void incomplete_request_is_partial(void **state)
{
    (void)state;
    static const char text[] = "\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    struct status_request request;
    for (size_t length = 0; length < sizeof text - 1; length++)
        assert_int_equal(status_request_read(text, length, &request), STATUS_REQUEST_PARTIAL);
    assert_int_equal(status_request_read(text, sizeof text - 1, &request), STATUS_REQUEST_WHOLE);
}

static void invalid_request_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        "GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n",
        "GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /h\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/11\r\nHost: x\r\n\r\n",
        "GET /healthz http/1.1\r\nHost: x\r\n\r\n",
        " \r\n\r\n",
        "x\r\n\r\n",
    };
    struct status_request request;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(read_text(texts[i], &request), 400);
    static const char with_nul[] = "GET /healthz HTTP/1.1\r\nHost: \0\r\n\r\n";
    assert_int_equal(status_request_read(with_nul, sizeof with_nul - 1, &request), 400);
    assert_int_equal(read_text("PRI * HTTP/2.0\r\n\r\n", &request), 505);
}

static void too_long_request_is_refused(void **state)
{
    (void)state;
    char text[STATUS_HEAD_MAX];
    struct status_request request;
    memset(text, 'x', sizeof text);
    assert_int_equal(status_request_read(text, sizeof text - 1, &request), STATUS_REQUEST_PARTIAL);
    assert_int_equal(status_request_read(text, sizeof text, &request), 414);
    memcpy(text, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(status_request_read(text, sizeof text, &request), 431);
    memset(text, '\n', sizeof text);
    assert_int_equal(status_request_read(text, sizeof text, &request), 414);
}

static void long_methods_and_paths_are_cut(void **state)
{
    (void)state;
    char text[4096] = "";
    struct status_request request;
    memset(text, 'M', 1000);
    strncat(text, " /", 3);
    memset(text + 1002, 'p', 1000);
    strncat(text, " HTTP/1.0\r\n\r\n", 14);
    assert_int_equal(read_text(text, &request), STATUS_REQUEST_WHOLE);
    assert_int_equal(strlen(request.method), STATUS_METHOD_SIZE - 1);
    assert_int_equal(strlen(request.path), STATUS_PATH_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_requests_are_read_without_their_query),
        cmocka_unit_test(host_is_read_without_blanks_around_it),
        cmocka_unit_test(id_is_read_from_an_incomplete_request),
        cmocka_unit_test(incomplete_request_is_partial),
        cmocka_unit_test(invalid_request_is_refused),
        cmocka_unit_test(too_long_request_is_refused),
        cmocka_unit_test(long_methods_and_paths_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
