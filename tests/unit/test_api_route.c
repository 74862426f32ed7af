#include "api/http/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/classic/protocol.h"
#include "api/course/protocol.h"
#include "api/protocols.h"
#include "common/domain/job.h"

static const struct route routes[] = {
    {.method = "GET", .path = "/api/v1/job", .flags = ROUTE_UNSAFE},
    {.method = "POST", .path = "/api/v1/job/{id}"},
    {.method = "GET", .path = "/api/v1/run/{id}"},
    {.method = "POST", .path = "/api/v1/run/{id}"},
    {.method = "POST", .path = "/api/v1/run"},
    {.method = "POST", .path = "/api/v1/run/{id}/stop"},
    {.method = NULL},
};

/* The name of the route; or the methods that the path allows; or "". */
static const char *find(const char *method, const char *path, char id[64])
{
    static char allowed[ROUTE_ALLOWED_SIZE];
    struct path_match match;
    allowed[0] = '\0';
    const struct route *route = route_find(routes, method, path, NULL, &match, allowed);
    if (route == NULL)
        return allowed;
    snprintf(id, 64, "%s", match.id);
    assert_string_equal(match.parts[0], match.id);
    assert_string_equal(match.parts[1], "");
    free(match.copy);
    return route->path;
}

static void a_path_is_found_by_its_method(void **state)
{
    (void)state;
    char id[64];
    assert_string_equal(find("GET", "/api/v1/job", id), "/api/v1/job");
    assert_string_equal(id, "");
    assert_string_equal(find("POST", "/api/v1/run/abc", id), "/api/v1/run/{id}");
    assert_string_equal(id, "abc");
    assert_string_equal(find("POST", "/api/v1/run", id), "/api/v1/run");
}

static void wrong_method_gets_the_allowed_methods(void **state)
{
    (void)state;
    char id[64] = "untouched";
    assert_string_equal(find("PUT", "/api/v1/run/abc", id), "GET, HEAD, POST");
    assert_string_equal(find("HEAD", "/api/v1/job", id), "GET");
    assert_string_equal(find("get", "/api/v1/job", id), "GET");
    assert_string_equal(id, "untouched");
}

static void head_is_allowed_where_get_only_reads(void **state)
{
    (void)state;
    char id[64];
    assert_string_equal(find("HEAD", "/api/v1/run/abc", id), "/api/v1/run/{id}");
    assert_string_equal(id, "abc");
    assert_string_equal(find("HEAD", "/api/v1/run", id), "POST");
}

static void whole_path_must_match(void **state)
{
    (void)state;
    static const char *const unknown[] = {"/",
                                          "",
                                          "/api/v1/jo",
                                          "/api/v1/jobs",
                                          "/api/v1/job/",
                                          "/api/v1/run/a/b",
                                          "/api/v1/run/a/",
                                          "/api/v1//run/a",
                                          "/API/v1/job",
                                          "api/v1/job",
                                          "*"};
    char id[64];
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_string_equal(find("GET", unknown[i], id), "");
}

static void only_runs_have_a_part_after_the_id(void **state)
{
    (void)state;
    static const char path[] = "/api/v1/run/0123456789abcdef01234567/stop";
    char id[64];
    assert_string_equal(find("POST", path, id), "/api/v1/run/{id}/stop");
    assert_string_equal(id, "0123456789abcdef01234567");
    assert_string_equal(find("GET", path, id), "POST");
    static const char *const unknown[] = {
        "/api/v1/run/cs241/stop",
        "/api/v1/run/0123456789abcdef0123456/stop",
        "/api/v1/run/0123456789ABCDEF01234567/stop",
        "/api/v1/run/0123456789abcdef01234567/stop/",
        "/api/v1/run/0123456789abcdef01234567/sto",
        "/api/v1/run//stop",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_string_equal(find("POST", unknown[i], id), "");
}

/* ---- Names ---- */

static const struct route named[] = {
    {.method = "GET", .path = "/v1/config/{course}/{assignment}"},
    {.method = "POST", .path = "/v1/config/{course}/{assignment}"},
    {.method = "GET", .path = "/v1/queue/{course}/length"},
    {.method = "GET", .path = "/v1/queue/{course}/{job}/position"},
    {.method = "POST", .path = "/v1/run/{course}/{assignment}"},
    {.method = NULL},
};

struct found {
    const char *pattern; /* NULL: none */
    char first[64], second[64], allowed[ROUTE_ALLOWED_SIZE];
};

static struct found find_named(const char *method, const char *path)
{
    struct found found = {.pattern = NULL};
    struct path_match match;
    const struct route *route = route_find(named, method, path, course_protocol.disowns, &match,
                                           found.allowed);
    if (route == NULL)
        return found;
    found.pattern = route->path;
    snprintf(found.first, sizeof found.first, "%s", match.parts[0]);
    snprintf(found.second, sizeof found.second, "%s", match.parts[1]);
    assert_string_equal(match.id, "");
    free(match.copy);
    return found;
}

static void names_are_extracted_from_the_path(void **state)
{
    (void)state;
    struct found found = find_named("POST", "/v1/config/cs-225/mp_1");
    assert_string_equal(found.pattern, "/v1/config/{course}/{assignment}");
    assert_string_equal(found.first, "cs-225");
    assert_string_equal(found.second, "mp_1");
    found = find_named("GET", "/v1/queue/c/j/position");
    assert_string_equal(found.first, "c");
    assert_string_equal(found.second, "j");
    found = find_named("GET", "/v1/queue/c/length");
    assert_string_equal(found.pattern, "/v1/queue/{course}/length");
}

static void invalid_name_matches_no_route(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/config/a.b/c",
                                        "/v1/config/a/",
                                        "/v1/config//c",
                                        "/v1/config/a/b/c",
                                        "/v1/config/a",
                                        "/v1/config/a b/c",
                                        "/v1/config/a/b/",
                                        "/v1/queue/c/size",
                                        "/v1/queue/c/j/positions",
                                        "/",
                                        ""};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct found found = find_named("GET", paths[i]);
        assert_null(found.pattern);
        assert_string_equal(found.allowed, "");
    }
}

static void names_have_a_maximum_length(void **state)
{
    (void)state;
    char path[200] = "/v1/queue/";
    memset(path + strlen(path), 'a', 128);
    memcpy(path + strlen(path), "/length", sizeof "/length");
    assert_null(find_named("GET", path).pattern);
    memmove(path + 10, path + 11, strlen(path + 11) + 1);
    assert_non_null(find_named("GET", path).pattern);
}

static void methods_of_a_path_with_names_are_listed(void **state)
{
    (void)state;
    struct found found = find_named("PUT", "/v1/config/a/b");
    assert_null(found.pattern);
    assert_string_equal(found.allowed, "GET, HEAD, POST");
}

static void runs_of_the_classic_protocol_keep_their_paths(void **state)
{
    (void)state;
    assert_null(find_named("POST", "/v1/run/0123456789abcdef01234567/cancel").pattern);
    assert_null(find_named("POST", "/v1/run/0123456789abcdef01234567/rerun").pattern);
    assert_string_equal(find_named("GET", "/v1/run/0123456789abcdef01234567/rerun").allowed, "");
    assert_non_null(find_named("POST", "/v1/run/0123456789abcdef01234567/other").pattern);
    assert_non_null(find_named("POST", "/v1/run/course/cancel").pattern);
}

/* ---- The process's tables of routes ---- */

/* A path that matches the row, with a run's id for each placeholder. */
static const char *example(const struct route *route)
{
    static char path[256];
    size_t length = 0;
    for (const char *at = route->path; *at != '\0'; at++) {
        if (*at != '{') {
            path[length++] = *at;
            continue;
        }
        length += (size_t)snprintf(path + length, sizeof path - length, "0123456789abcdef01234567");
        at = strchr(at, '}');
    }
    path[length] = '\0';
    return path;
}

/* Each row of the process's tables can be reached. */
static void each_row_can_be_found(void **state)
{
    (void)state;
    const struct wire_protocol *const all[] = {&classic_protocol, &course_protocol,
                                               internal_protocols[0]};
    for (int i = 0; i < 3; i++)
        for (const struct route *route = all[i]->routes; route->method != NULL; route++) {
            char allowed[ROUTE_ALLOWED_SIZE] = "";
            struct path_match match;
            assert_ptr_equal(route_find(all[i]->routes, route->method, example(route),
                                        all[i]->disowns, &match, allowed),
                             route);
            free(match.copy);
            assert_true(route->handle != NULL || route->auth == AUTH_SOCKET);
            assert_true((route->flags & ROUTE_HEARTBEAT) == 0 || all[i]->results != NULL);
            assert_true((route->flags & ROUTE_HEARTBEAT) == 0 || all[i]->result_sender != NULL);
        }
}

/* The table of protocols has a complete row for each protocol. */
static void each_protocol_has_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < PROTOCOLS; i++) {
        assert_non_null(protocols[i]);
        assert_non_null(protocols[i]->routes);
        assert_non_null(protocols[i]->make_job);
        assert_true((protocols[i]->upgrade == NULL) == (protocols[i]->push_job == NULL));
        assert_true((protocols[i]->upgrade == NULL) == (protocols[i]->take_upgraded == NULL));
    }
    assert_null(protocols[PROTOCOLS]);
}

static size_t body_limit(const char *method, const char *path)
{
    char allowed[ROUTE_ALLOWED_SIZE] = "";
    struct path_match match;
    const struct route *route = route_find(classic_routes, method, path, NULL, &match, allowed);
    assert_non_null(route);
    free(match.copy);
    return route_body_limit(route, 16 * 1024 * 1024);
}

static void each_route_takes_a_body_of_its_own_size(void **state)
{
    (void)state;
    static const char run[] = "/api/v1/grading_run/0123456789abcdef01234567";
    assert_int_equal(body_limit("POST", "/api/v1/heartbeat"), 4096);
    assert_int_equal(body_limit("GET", "/api/v1/grading_job"), 4096);
    assert_int_equal(body_limit("GET", "/api/v1/worker_register"), 4096);
    assert_int_equal(body_limit("POST", run), 4096);
    assert_int_equal(body_limit("POST", "/api/v1/grading_run"), 16 * 1024 * 1024);
    assert_int_equal(body_limit("POST", "/api/v1/grading_job/x"), 16 * 1024 * 1024);
    assert_int_equal(body_limit("POST", "/api/v1/grading_job/x/log"), 64 * 1024);
    for (const struct route *route = course_routes; route->method != NULL; route++) {
        bool is_registration = strcmp(route->path, "/api/v1/worker/{worker}") == 0 &&
                               route->body == BODY_JSON;
        size_t limit = is_registration ? 16 * 1024
                       : (route->flags & ROUTE_BODY_SMALL) != 0 || route->body == BODY_UNREAD ||
                               route->body == BODY_NONE || route->auth == AUTH_SOCKET
                           ? 4096
                       : route->body == BODY_BYTES ? 64 * 1024
                                                   : 16 * 1024 * 1024;
        assert_int_equal(route_body_limit(route, 16 * 1024 * 1024), limit);
        assert_int_equal(route_body_limit(route, 1024), 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_found_by_its_method),
        cmocka_unit_test(wrong_method_gets_the_allowed_methods),
        cmocka_unit_test(head_is_allowed_where_get_only_reads),
        cmocka_unit_test(whole_path_must_match),
        cmocka_unit_test(only_runs_have_a_part_after_the_id),
        cmocka_unit_test(names_are_extracted_from_the_path),
        cmocka_unit_test(invalid_name_matches_no_route),
        cmocka_unit_test(names_have_a_maximum_length),
        cmocka_unit_test(methods_of_a_path_with_names_are_listed),
        cmocka_unit_test(runs_of_the_classic_protocol_keep_their_paths),
        cmocka_unit_test(each_row_can_be_found),
        cmocka_unit_test(each_protocol_has_a_row),
        cmocka_unit_test(each_route_takes_a_body_of_its_own_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
