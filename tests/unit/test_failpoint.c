/* Tests failpoint, compiled with its instruments in every preset. */
#ifndef BROADWAY_FAILPOINTS
#define BROADWAY_FAILPOINTS
#endif
#include "common/base/failpoint.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char path[] = "/tmp/failpoint-XXXXXX";

/* Replaces the file atomically, as tests do: a new file with a new inode. */
static void set_file(const char *text)
{
    char fresh[] = "/tmp/failpoint-XXXXXX";
    int fd = mkstemp(fresh);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(rename(fresh, path), 0);
}

static void without_rules_nothing_happens(void **state)
{
    (void)state;
    set_file("");
    assert_false(failpoint_hit("anything"));
    assert_false(failpoint_is_set("anything"));
}

static void error_action_fails_every_time(void **state)
{
    (void)state;
    set_file("lost:error");
    assert_true(failpoint_is_set("lost"));
    assert_true(failpoint_hit("lost"));
    assert_true(failpoint_hit("lost"));
    assert_false(failpoint_hit("other"));
}

static void numbered_action_runs_only_at_that_hit(void **state)
{
    (void)state;
    set_file("first:sleep=1@2,lost:error@3");
    assert_false(failpoint_hit("lost"));
    assert_false(failpoint_hit("first"));
    assert_false(failpoint_hit("lost"));
    assert_true(failpoint_hit("lost"));
    assert_false(failpoint_hit("lost"));
}

static void replaced_file_resets_the_count(void **state)
{
    (void)state;
    set_file("lost:error@1");
    assert_true(failpoint_hit("lost"));
    assert_false(failpoint_hit("lost"));
    set_file("lost:error@1");
    assert_true(failpoint_hit("lost"));
    set_file("");
    assert_false(failpoint_is_set("lost"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_nothing_happens),
        cmocka_unit_test(error_action_fails_every_time),
        cmocka_unit_test(numbered_action_runs_only_at_that_hit),
        cmocka_unit_test(replaced_file_resets_the_count),
    };
    int fd = mkstemp(path);
    close(fd);
    setenv("BROADWAY_FAILPOINT_FILE", path, 1);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failures;
}
