#include "api/course/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const struct route routes[] = {
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

static struct found find(const char *method, const char *path)
{
    struct found found = {.pattern = NULL};
    const char *parts[PATH_PARTS] = {"", ""};
    char *copy = NULL;
    const struct route *route = course_route_find(routes, method, path, found.allowed, &copy,
                                                  parts);
    if (route != NULL) {
        found.pattern = route->path;
        strncpy(found.first, parts[0], sizeof found.first - 1);
        strncpy(found.second, parts[1], sizeof found.second - 1);
    }
    free(copy);
    return found;
}

static void names_are_cut_out_of_the_path(void **state)
{
    (void)state;
    struct found found = find("POST", "/v1/config/cs-225/mp_1");
    assert_string_equal(found.pattern, "/v1/config/{course}/{assignment}");
    assert_string_equal(found.first, "cs-225");
    assert_string_equal(found.second, "mp_1");
    found = find("GET", "/v1/queue/c/j/position");
    assert_string_equal(found.first, "c");
    assert_string_equal(found.second, "j");
    found = find("GET", "/v1/queue/c/length");
    assert_string_equal(found.pattern, "/v1/queue/{course}/length");
}

static void what_is_no_name_matches_nothing(void **state)
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
        struct found found = find("GET", paths[i]);
        assert_null(found.pattern);
        assert_string_equal(found.allowed, "");
    }
}

static void names_have_a_longest_length(void **state)
{
    (void)state;
    char path[200] = "/v1/queue/";
    memset(path + strlen(path), 'a', 128);
    memcpy(path + strlen(path), "/length", sizeof "/length");
    assert_null(find("GET", path).pattern);
    memmove(path + 10, path + 11, strlen(path + 11) + 1);
    assert_non_null(find("GET", path).pattern);
}

static void another_method_is_told_which_there_are(void **state)
{
    (void)state;
    struct found found = find("PUT", "/v1/config/a/b");
    assert_null(found.pattern);
    assert_string_equal(found.allowed, "GET, HEAD, POST");
}

static void runs_of_the_seed_protocol_keep_their_paths(void **state)
{
    (void)state;
    assert_null(find("POST", "/v1/run/0123456789abcdef01234567/cancel").pattern);
    assert_null(find("POST", "/v1/run/0123456789abcdef01234567/rerun").pattern);
    assert_non_null(find("POST", "/v1/run/0123456789abcdef01234567/other").pattern);
    assert_non_null(find("POST", "/v1/run/course/cancel").pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_cut_out_of_the_path),
        cmocka_unit_test(what_is_no_name_matches_nothing),
        cmocka_unit_test(names_have_a_longest_length),
        cmocka_unit_test(another_method_is_told_which_there_are),
        cmocka_unit_test(runs_of_the_seed_protocol_keep_their_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
