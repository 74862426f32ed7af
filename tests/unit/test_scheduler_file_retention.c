#include "scheduler/io/file_retention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/store/file_removal.h"

/* Runs whose uses the fake store has, in its order, and those that exist. */
static const char *const *users;
static size_t user_count;
static const char *existing;
static char removed[8][RUN_ID_SIZE];
static size_t removed_count;

enum bw_code __wrap_file_removal_each_user(struct file_store *store, int64_t before_ms,
                                           void (*each)(const char *run, void *context),
                                           void *context, struct bw_error *error);
enum bw_code __wrap_file_removal_uses(struct file_store *store, const char *run, int64_t before_ms,
                                      struct bw_error *error);
enum bw_code __wrap_file_removal_unused(struct file_store *store, int64_t before_ms, size_t *count,
                                        struct bw_error *error);
enum bw_code __wrap_file_removal_partial(struct file_store *store, int64_t before_ms, size_t *count,
                                         struct bw_error *error);
enum bw_code __wrap_run_store_find(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                   size_t count, void (*each)(const char *run_id, void *context),
                                   void *context, struct bw_error *error);

enum bw_code __wrap_file_removal_each_user(struct file_store *store, int64_t before_ms,
                                           void (*each)(const char *run, void *context),
                                           void *context, struct bw_error *error)
{
    (void)store;
    (void)before_ms;
    (void)error;
    for (size_t i = 0; i < user_count; i++) {
        char id[RUN_ID_SIZE];
        snprintf(id, sizeof id, "%s", users[i]);
        each(id, context);
    }
    return BW_OK;
}

enum bw_code __wrap_file_removal_uses(struct file_store *store, const char *run, int64_t before_ms,
                                      struct bw_error *error)
{
    (void)store;
    (void)before_ms;
    (void)error;
    assert_in_range(removed_count, 0, 7);
    snprintf(removed[removed_count++], RUN_ID_SIZE, "%s", run);
    return BW_OK;
}

enum bw_code __wrap_file_removal_unused(struct file_store *store, int64_t before_ms, size_t *count,
                                        struct bw_error *error)
{
    (void)store;
    (void)before_ms;
    (void)error;
    *count = 0;
    return BW_OK;
}

enum bw_code __wrap_file_removal_partial(struct file_store *store, int64_t before_ms, size_t *count,
                                         struct bw_error *error)
{
    return __wrap_file_removal_unused(store, before_ms, count, error);
}

enum bw_code __wrap_run_store_find(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                   size_t count, void (*each)(const char *run_id, void *context),
                                   void *context, struct bw_error *error)
{
    bool is_asked = false;
    (void)store;
    (void)error;
    for (size_t i = 0; i < count; i++)
        is_asked = is_asked || strcmp(run_ids[i], existing) == 0;
    if (is_asked) /* once, however often it was asked for */
        each(existing, context);
    return BW_OK;
}

#define RUN_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define RUN_B "bbbbbbbbbbbbbbbbbbbbbbbb"
#define RUN_C "cccccccccccccccccccccccc"

static void uses_of_a_run_that_exists_are_kept_in_whatever_order_they_are_stored(void **state)
{
    static const char *const orders[][4] = {
        {RUN_A, RUN_B, RUN_A, RUN_C}, {RUN_A, RUN_A, RUN_B, RUN_A}, {RUN_B, RUN_A, RUN_C, RUN_A}};
    (void)state;
    existing = RUN_A;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        size_t count;
        struct bw_error error;
        users = orders[i];
        user_count = 4;
        removed_count = 0;
        assert_int_equal(file_retention_remove(NULL, NULL, 1, &count, &error), BW_OK);
        assert_true(removed_count > 0);
        for (size_t j = 0; j < removed_count; j++)
            assert_string_not_equal(removed[j], RUN_A);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_of_a_run_that_exists_are_kept_in_whatever_order_they_are_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
