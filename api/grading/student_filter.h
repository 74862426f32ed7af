/*
 * student_filter: which students of a run a client wants to see: INDEX, the position in the run,
 * or NAME=VALUE, those whose environment, as submitted, has the variable with that value. Pure;
 * safe from any thread.
 */
#ifndef API_GRADING_STUDENT_FILTER_H
#define API_GRADING_STUDENT_FILTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* The check of the argument, for tables of fields. BW_BAD_REQUEST. */
enum bw_code student_filter_check(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error) BW_CHECKED;

/* Whether `filter`, which was checked, wants this student. A value that is not a string is compared
 * as compact JSON. */
bool student_filter_admits(const char *filter, const json_t *env, uint32_t index);

#endif
