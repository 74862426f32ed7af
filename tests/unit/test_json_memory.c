#include "common/base/json_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Under a sanitizer malloc returns NULL, as it does without one. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void keep_no_core(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

/* The exit status of a child process that runs `task`. */
static int status_of(void (*task)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        keep_no_core();
        signal(SIGABRT, SIG_DFL);
        task();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void allocate_too_much(void)
{
    volatile size_t size = (size_t)PTRDIFF_MAX - 4096;
    _exit(json_memory_allocate(size) != NULL ? 0 : 1);
}

static size_t left;

static void *allocate_while_some_is_left(size_t size)
{
    volatile size_t too_much = (size_t)PTRDIFF_MAX - 4096;
    return json_memory_allocate(left-- > 0 ? size : too_much);
}

/* Memory runs out between a list and its item; the item must not be dropped silently. */
static void append_without_memory(void)
{
    json_set_alloc_funcs(allocate_while_some_is_left, free);
    left = 2; /* a list and its array */
    json_t *list = json_array();
    json_array_append_new(list, json_pack("{s:s}", "job", "1"));
}

static void when_no_memory_is_left_the_process_aborts(void **state)
{
    (void)state;
    int status = status_of(allocate_too_much);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void no_item_is_dropped_silently(void **state)
{
    (void)state;
    int status = status_of(append_without_memory);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void jansson_allocates_through_json_memory(void **state)
{
    (void)state;
    json_malloc_t allocate;
    json_free_t release;
    json_memory_install();
    json_get_alloc_funcs(&allocate, &release);
    assert_true(allocate == json_memory_allocate);
    assert_true(release == free);
    char *text = json_dumps(json_true(), JSON_ENCODE_ANY);
    assert_string_equal(text, "true");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_no_memory_is_left_the_process_aborts),
        cmocka_unit_test(no_item_is_dropped_silently),
        cmocka_unit_test(jansson_allocates_through_json_memory),
    };
    return cmocka_run_group_tests_name("json_memory", tests, NULL, NULL);
}
