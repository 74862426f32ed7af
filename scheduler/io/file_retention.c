#include "scheduler/io/file_retention.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/store/file_removal.h"

enum { RUNS_AT_ONCE = 250 };

/* One scan of all uses. */
struct user_check {
    struct file_store *files;
    struct run_store *runs;
    int64_t before_ms;
    char users[RUNS_AT_ONCE][RUN_ID_SIZE]; /* not yet looked up */
    size_t count;
    enum bw_code code;
    struct bw_error *error;
};

/* The run exists. It may be in the list more than once. */
static void user_check_found(const char *run, void *context)
{
    struct user_check *check = context;
    size_t kept = 0;
    for (size_t i = 0; i < check->count; i++)
        if (strcmp(check->users[i], run) != 0)
            memmove(check->users[kept++], check->users[i], sizeof check->users[i]);
    check->count = kept;
}

/* Removes the uses of those runs that don't exist. */
static void user_check_remove(struct user_check *check)
{
    check->code = run_store_find(check->runs, (const char(*)[RUN_ID_SIZE])check->users,
                                 check->count, user_check_found, check, check->error);
    for (size_t i = 0; check->code == BW_OK && i < check->count; i++)
        check->code = file_removal_uses(check->files, check->users[i], check->before_ms,
                                        check->error);
    check->count = 0;
}

static void user_check_add(const char *run, void *context)
{
    struct user_check *check = context;
    if (check->code != BW_OK)
        return;
    memcpy(check->users[check->count++], run, RUN_ID_SIZE);
    if (check->count == RUNS_AT_ONCE)
        user_check_remove(check);
}

static enum bw_code remove_dead_uses(struct file_store *files, struct run_store *runs,
                                     int64_t before_ms, struct bw_error *error)
{
    struct user_check *check = bw_alloc(sizeof *check);
    *check = (struct user_check){
        .files = files, .runs = runs, .before_ms = before_ms, .code = BW_OK, .error = error};
    enum bw_code code = file_removal_each_user(files, before_ms, user_check_add, check, error);
    if (check->code == BW_OK && code == BW_OK && check->count > 0)
        user_check_remove(check);
    if (code == BW_OK)
        code = check->code;
    free(check);
    return code;
}

enum bw_code file_retention_remove(struct file_store *files, struct run_store *runs,
                                   int64_t before_ms, size_t *removed, struct bw_error *error)
{
    size_t count = 0;
    *removed = 0;
    enum bw_code code = remove_dead_uses(files, runs, before_ms, error);
    if (code == BW_OK) {
        code = file_removal_unused(files, before_ms, &count, error);
        *removed += count;
    }
    if (code == BW_OK) {
        code = file_removal_partial(files, before_ms, &count, error);
        *removed += count;
    }
    return code;
}
