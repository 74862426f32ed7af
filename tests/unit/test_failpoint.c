/* failpoint, with its instruments compiled in whatever the preset. */
#ifndef BROADWAY_FAILPOINTS
#define BROADWAY_FAILPOINTS
#endif
#include "common/base/failpoint.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char path[] = "/tmp/failpoint-XXXXXX";

/* Replaces the file at one stroke, as tests do: another file, another inode. */
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

static void an_error_is_made_every_time(void **state)
{
    (void)state;
    set_file("lost:error");
    assert_true(failpoint_is_set("lost"));
    assert_true(failpoint_hit("lost"));
    assert_true(failpoint_hit("lost"));
    assert_false(failpoint_hit("other"));
}

static void with_a_number_only_at_that_time(void **state)
{
    (void)state;
    set_file("first:sleep=1@2,lost:error@3");
    assert_false(failpoint_hit("lost"));
    assert_false(failpoint_hit("first"));
    assert_false(failpoint_hit("lost"));
    assert_true(failpoint_hit("lost"));
    assert_false(failpoint_hit("lost"));
}

static void a_replaced_file_begins_to_count_anew(void **state)
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

static void a_mutant_is_the_one_that_was_chosen(void **state)
{
    (void)state;
    assert_false(mutant_is("guard"));
    setenv("BROADWAY_MUTANT", "guard", 1);
    assert_true(mutant_is("guard"));
    assert_false(mutant_is("other"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_nothing_happens),
        cmocka_unit_test(an_error_is_made_every_time),
        cmocka_unit_test(with_a_number_only_at_that_time),
        cmocka_unit_test(a_replaced_file_begins_to_count_anew),
        cmocka_unit_test(a_mutant_is_the_one_that_was_chosen),
    };
    int fd = mkstemp(path);
    close(fd);
    setenv("BROADWAY_FAILPOINT_FILE", path, 1);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failures;
}
