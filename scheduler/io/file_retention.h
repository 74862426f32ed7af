/*
 * file_retention: removes files that nothing uses any more: uses of runs that do not exist, then
 * files without uses, then contents that processes left half stored. Each counts once it is older
 * than --orphan-age. Called by the database jobs alone, one scan at a time; waits for the database.
 */
#ifndef SCHEDULER_IO_FILE_RETENTION_H
#define SCHEDULER_IO_FILE_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/store/file_store.h"
#include "common/store/run_store.h"

/* Removes what is older than `before_ms` (the database's date, UTC ms). *removed counts the files
 * and contents, also where it fails. May be repeated. BW_OK, BW_UNAVAILABLE. */
enum bw_code file_retention_remove(struct file_store *files, struct run_store *runs,
                                   int64_t before_ms, size_t *removed, struct bw_error *error)
    BW_CHECKED;

#endif
