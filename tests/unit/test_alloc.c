#include "common/base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void what_is_allocated_is_zeroed(void **state)
{
    (void)state;
    static const char zero[3000];
    char *one = bw_alloc(sizeof zero), *many = bw_alloc_array(30, 100),
         *none = bw_alloc_array(0, 8);
    assert_memory_equal(one, zero, sizeof zero);
    assert_memory_equal(many, zero, sizeof zero);
    assert_non_null(none);
    free(one);
    free(many);
    free(none);
}

static void what_grows_keeps_what_was_in_it(void **state)
{
    (void)state;
    int *numbers = bw_grow(NULL, 2, sizeof *numbers);
    numbers[0] = 1;
    numbers[1] = 2;
    numbers = bw_grow(numbers, 10000, sizeof *numbers);
    assert_int_equal(numbers[0], 1);
    assert_int_equal(numbers[1], 2);
    free(numbers);
    char *copy = bw_copy("text");
    assert_string_equal(copy, "text");
    free(copy);
}

static void texts_are_made_by_a_format(void **state)
{
    (void)state;
    char *text = bw_format("%s-%d", "job", 12), *none = bw_format("%s", "");
    assert_string_equal(text, "job-12");
    assert_string_equal(none, "");
    free(text);
    free(none);
}

/* True if a child process survives an allocation of that size. (With a sanitizer, its allocator
 * ends the child with a report.) */
static bool survives_allocation(bool grows, size_t count, size_t size)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        free(grows ? bw_grow(bw_alloc(8), count, size) : bw_alloc_array(count, size));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void without_memory_the_process_ends(void **state)
{
    (void)state;
    assert_false(survives_allocation(false, SIZE_MAX / 2, 4));
    assert_false(survives_allocation(true, SIZE_MAX / 2, 4));
    assert_true(survives_allocation(false, 1, 8));
    assert_true(survives_allocation(true, 100, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_allocated_is_zeroed),
        cmocka_unit_test(what_grows_keeps_what_was_in_it),
        cmocka_unit_test(texts_are_made_by_a_format),
        cmocka_unit_test(without_memory_the_process_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
