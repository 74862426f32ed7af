/*
 * worker_tags: the names that a grader gives itself when it registers, such as "gpu,lab-2": one
 * text, separated by commas. Runs may require tags of their graders, and reservations select
 * graders by them (common/domain/scheduling.h). Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_WORKER_TAGS_H
#define COMMON_DOMAIN_WORKER_TAGS_H

#include <jansson.h>

#include "common/base/error.h"

enum { WORKER_TAGS = 32, WORKER_TAG_LONGEST = 64, WORKER_TAGS_SIZE = 512 };

/* Checks one tag of `length` bytes: 1 to WORKER_TAG_LONGEST of the characters below.
 * BW_BAD_REQUEST: a sentence that begins with `path`. */
enum bw_code worker_tag_check(const char *tag, size_t length, const char *path,
                              struct bw_error *error) BW_CHECKED;

/* Checks the argument `path` (a json_field's check): at most WORKER_TAGS names of 1 to
 * WORKER_TAG_LONGEST of the characters A-Z a-z 0-9 . _ -, in all fewer than WORKER_TAGS_SIZE bytes;
 * "" has none. `value` is a string, borrowed; `context` is not used. BW_BAD_REQUEST: a sentence. */
enum bw_code worker_tags_check(const json_t *value, const char *path, const void *context,
                               struct bw_error *error) BW_CHECKED;

/* The names as an array of strings, in their order. New reference. */
json_t *worker_tags_list(const char *tags);

#endif
