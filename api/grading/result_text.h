/*
 * result_text: a grader's result as the text that is stored, within the limit. What is too large is
 * cut where a reader still understands it: a list loses its last items and gets one that says so;
 * long strings lose their middle. Callers: submission. Pure; safe from any thread.
 */
#ifndef API_GRADING_RESULT_TEXT_H
#define API_GRADING_RESULT_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

/* Compact JSON of at most `limit` bytes. On BW_OK *text is new (free()), and *is_cut says whether
 * something was lost. BW_TOO_LARGE: it can't be cut so far; BW_INTERNAL. */
enum bw_code result_text_make(const json_t *value, size_t limit, char **text, bool *is_cut,
                              struct bw_error *error) BW_CHECKED;

#endif
