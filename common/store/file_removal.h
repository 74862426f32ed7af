/*
 * file_removal: removes files that no run uses, and contents that no file names. Caller: retention.
 * Waits for the database. Several processes may do it at the same time.
 */
#ifndef COMMON_STORE_FILE_REMOVAL_H
#define COMMON_STORE_FILE_REMOVAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/store/file_store.h"

/* The ids of all runs whose uses were written before `before_ms`, some repeatedly; `each` borrows.
 * Scans the collection. */
enum bw_code file_removal_each_user(struct file_store *store, int64_t before_ms,
                                    void (*each)(const char *run, void *context), void *context,
                                    struct bw_error *error) BW_CHECKED;

/* Removes the uses of a run that were written before `before_ms`. May be repeated. */
enum bw_code file_removal_uses(struct file_store *store, const char *run, int64_t before_ms,
                               struct bw_error *error) BW_CHECKED;

/* Removes the files without uses that were last sent or used before `before_ms` (the database's
 * date, UTC ms). *removed counts them, also where it fails. May be repeated. BW_OK,
 * BW_UNAVAILABLE. */
enum bw_code file_removal_unused(struct file_store *store, int64_t before_ms, size_t *removed,
                                 struct bw_error *error) BW_CHECKED;

/* Removes the contents of uploads that a process began before `before_ms` and never completed, and
 * those of files whose removal was interrupted. The same rules. */
enum bw_code file_removal_partial(struct file_store *store, int64_t before_ms, size_t *removed,
                                  struct bw_error *error) BW_CHECKED;

#endif
