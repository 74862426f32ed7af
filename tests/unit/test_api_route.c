#include "api/http/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const struct route routes[] = {
    {.method = "GET", .path = "/api/v1/job", .flags = ROUTE_UNSAFE},
    {.method = "POST", .path = "/api/v1/job/{id}"},
    {.method = "GET", .path = "/api/v1/run/{id}"},
    {.method = "POST", .path = "/api/v1/run/{id}"},
    {.method = "POST", .path = "/api/v1/run"},
    {.method = "POST", .path = "/api/v1/run/{id}/stop"},
    {.method = NULL},
};

/* Which route, or the methods that the path takes, or "". */
static const char *find(const char *method, const char *path, const char **id)
{
    static char allowed[64];
    const struct route *route = route_find(routes, method, path, id, allowed);
    return route != NULL ? route->path : allowed;
}

static void a_path_is_found_by_its_method(void **state)
{
    (void)state;
    const char *id = NULL, *path = "/api/v1/run/abc";
    assert_string_equal(find("GET", "/api/v1/job", &id), "/api/v1/job");
    assert_string_equal(id, "");
    assert_string_equal(find("POST", path, &id), "/api/v1/run/{id}");
    assert_ptr_equal(id, path + strlen("/api/v1/run/"));
    assert_string_equal(find("POST", "/api/v1/run", &id), "/api/v1/run");
}

static void another_method_is_told_which_there_are(void **state)
{
    (void)state;
    const char *id = "untouched";
    assert_string_equal(find("PUT", "/api/v1/run/abc", &id), "GET, HEAD, POST");
    assert_string_equal(find("HEAD", "/api/v1/job", &id), "GET");
    assert_string_equal(find("get", "/api/v1/job", &id), "GET");
    assert_string_equal(id, "untouched");
}

static void head_goes_where_get_only_reads(void **state)
{
    (void)state;
    const char *id;
    assert_string_equal(find("HEAD", "/api/v1/run/abc", &id), "/api/v1/run/{id}");
    assert_string_equal(id, "abc");
    assert_string_equal(find("HEAD", "/api/v1/run", &id), "POST");
}

static void paths_match_as_a_whole(void **state)
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
    const char *id;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_string_equal(find("GET", unknown[i], &id), "");
}

static void a_part_behind_the_id_belongs_to_runs_alone(void **state)
{
    (void)state;
    const char *id = NULL, *path = "/api/v1/run/0123456789abcdef01234567/stop";
    assert_string_equal(find("POST", path, &id), "/api/v1/run/{id}/stop");
    assert_memory_equal(id, "0123456789abcdef01234567", 24);
    assert_string_equal(find("GET", path, &id), "POST");
    static const char *const unknown[] = {
        "/api/v1/run/cs241/stop",
        "/api/v1/run/0123456789abcdef0123456/stop",
        "/api/v1/run/0123456789ABCDEF01234567/stop",
        "/api/v1/run/0123456789abcdef01234567/stop/",
        "/api/v1/run/0123456789abcdef01234567/sto",
        "/api/v1/run//stop",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_string_equal(find("POST", unknown[i], &id), "");
}

/* A path that the row matches. */
static const char *example(const struct route *route)
{
    static char path[128];
    const char *open = strchr(route->path, '{');
    if (open == NULL)
        return route->path;
    snprintf(path, sizeof path, "%.*s%s%s", (int)(open - route->path), route->path,
             "0123456789abcdef01234567", strchr(open, '}') + 1);
    return path;
}

/* What the table of the process promises to dispatch. */
static void each_row_can_be_found(void **state)
{
    (void)state;
    const struct route *const tables[] = {public_routes, internal_routes};
    for (int i = 0; i < 2; i++)
        for (const struct route *route = tables[i]; route->method != NULL; route++) {
            char allowed[64];
            const char *id;
            assert_ptr_equal(route_find(tables[i], route->method, example(route), &id, allowed),
                             route);
            assert_non_null(route->handle);
        }
}

static size_t body_limit(const char *method, const char *path)
{
    char allowed[64];
    const char *id;
    const struct route *route = route_find(public_routes, method, path, &id, allowed);
    assert_non_null(route);
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
    for (const struct route *route = course_routes; route->method != NULL; route++) {
        bool is_registration = strcmp(route->path, "/api/v1/worker/{worker}") == 0;
        size_t limit = is_registration            ? 16 * 1024
                       : route->body == BODY_NONE ? 4096
                                                  : 16 * 1024 * 1024;
        assert_int_equal(route_body_limit(route, 16 * 1024 * 1024), limit);
        assert_int_equal(route_body_limit(route, 1024), 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_found_by_its_method),
        cmocka_unit_test(another_method_is_told_which_there_are),
        cmocka_unit_test(head_goes_where_get_only_reads),
        cmocka_unit_test(paths_match_as_a_whole),
        cmocka_unit_test(a_part_behind_the_id_belongs_to_runs_alone),
        cmocka_unit_test(each_row_can_be_found),
        cmocka_unit_test(each_route_takes_a_body_of_its_own_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
