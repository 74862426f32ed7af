/*
 * exec_size: the size of a stage's arguments and environment when a program is started with them,
 * and its limit. Linux counts each string with its NUL and the pointer to it, and allows a quarter
 * of the stack's limit: 2 MiB, by default. submission_size.h and course_submission_size.h use it.
 * Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_EXEC_SIZE_H
#define COMMON_DOMAIN_EXEC_SIZE_H

#include <jansson.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/domain/job.h"

/* 2 MiB minus a reserve for what a grader and its container engine add: PATH, HOME, arguments of a
 * command. */
enum { EXEC_ROOM = 64 * 1024, EXEC_TOTAL_MAX = 2 * 1024 * 1024 - EXEC_ROOM };

/* The size in bytes of an entry NAME=value with a value of `length` bytes, and of a list of
 * arguments (strings; NULL: none). */
size_t exec_entry_bytes(const char *name, size_t length);
size_t exec_arguments_bytes(const json_t *arguments);

/* The error: BW_BAD_REQUEST. `pipeline` is its key; `student` is used for a student's job. */
enum bw_code exec_refuse(const char *pipeline, size_t stage, enum job_kind kind, size_t student,
                         size_t bytes, struct bw_error *error) BW_CHECKED;

#endif
