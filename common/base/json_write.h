/*
 * json_write: JSON values as text, for answers, for the database and for graders. Like jansson's
 * json_dumps, but each number with a fraction is written in the shortest form that reads back as
 * the same number: 0.1, where jansson writes 0.10000000000000001.
 *
 * Digests are not made of this text but of jansson's own (api/grading/result_submission.c): those
 * are compared between versions of Broadway. Pure; safe from any thread.
 */
#ifndef COMMON_BASE_JSON_WRITE_H
#define COMMON_BASE_JSON_WRITE_H

#include <jansson.h>
#include <stddef.h>

/* `flags` are jansson's. New, free(); NULL if memory is short or a text in it is not UTF-8. */
char *json_write(const json_t *value, size_t flags);

/* Room for any number that json_real_write writes. */
enum { JSON_REAL_SIZE = 32 };

/* Writes a finite number so that it reads back as the same, and as one with a fraction ("1.0",
 * "1e300"). Returns how many bytes were written, a NUL apart. */
size_t json_real_write(double number, char text[JSON_REAL_SIZE]);

#endif
