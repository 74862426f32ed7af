/*
 * json_write: JSON values as text, for answers, for the database and for graders. Like jansson's
 * json_dumps, but each number with a fraction is written in the shortest form that reads back as
 * the same number: 0.1, where jansson writes 0.10000000000000001.
 *
 * Digests are computed from jansson's own text (api/grading/result_submission.c), since they are
 * compared between versions of Broadway. Pure; safe from any thread.
 */
#ifndef COMMON_BASE_JSON_WRITE_H
#define COMMON_BASE_JSON_WRITE_H

#include <jansson.h>
#include <stddef.h>

/* `flags` are jansson's. New text, to be freed with free(); NULL: out of memory, or a text in the
 * value is not UTF-8. */
char *json_write(const json_t *value, size_t flags);

/* A finite number below 2^53 in its only form: a whole one as an integer (7, not 7.0; 0, not -0.0).
 * New reference. */
json_t *json_number_new(double number);

/* Room for any number that json_real_write writes. */
enum { JSON_REAL_SIZE = 32 };

/* Writes a finite number so that it reads back as the same number with a fraction ("1.0", "1e300").
 * Returns the number of bytes without the NUL. For tests. */
size_t json_real_write(double number, char text[JSON_REAL_SIZE]);

#endif
