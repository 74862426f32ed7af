/*
 * result_text: converts a grader's result to the stored text, within the limit. A result that is
 * too large is cut so that it stays readable: the last items of a list are replaced by one that
 * gives their number; long strings lose their middle. Callers: result_submission. Pure; safe from
 * any thread.
 */
#ifndef API_GRADING_RESULT_TEXT_H
#define API_GRADING_RESULT_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

/* Writes compact JSON of at most `limit` bytes. On BW_OK *text is new (free()), and *is_cut:
 * something was cut. BW_TOO_LARGE: it can't be cut to the limit; BW_INTERNAL: out of memory. */
enum bw_code result_text_make(const json_t *value, size_t limit, char **text, bool *is_cut,
                              struct bw_error *error) BW_CHECKED;

#endif
