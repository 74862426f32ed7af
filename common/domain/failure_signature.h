/*
 * failure_signature: a short hash of how a job failed, equal for failures that look alike, so that
 * a thousand failed jobs can be grouped by their cause. Pure: no I/O, no clock; safe from any
 * thread.
 *
 * It covers the stage that failed (its place in the job), its exit code, its signal, whether it
 * timed out or was killed for its memory, and its last lines without what differs from job to job:
 * numbers, hex digits, paths and times. These are read from the reports of the reference grader
 * (docs/grader.md, "What is reported"). Any other result has no stage and no exit code: its lines
 * are those of the stderr, else of the stdout, else of the result itself.
 */
#ifndef COMMON_DOMAIN_FAILURE_SIGNATURE_H
#define COMMON_DOMAIN_FAILURE_SIGNATURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { SIGNATURE_LENGTH = 16, SIGNATURE_SIZE = SIGNATURE_LENGTH + 1 };

/* Computes the signature of a failed job. `result` is what the grader reported, `logs` its
 * {"stdout", "stderr"}; each may be NULL, and is borrowed. Writes 16 lower-case hex digits. */
void failure_signature_make(const json_t *result, const json_t *logs,
                            char signature[SIGNATURE_SIZE]);

/* The last report of a result, which is that of the stage that failed; *place is that stage's in
 * the job, from 1. Borrowed. NULL: the result has another form. */
const json_t *failure_signature_report(const json_t *result, size_t *place);

/* Whether `text` has the form of a signature. */
bool is_failure_signature(const char *text);

/* The last lines of `length` bytes of text, as they go into the signature: at most three that are
 * not blank, of at most the last 4 KiB. New text, free(). For tests. */
char *failure_signature_lines(const char *text, size_t length);

#endif
