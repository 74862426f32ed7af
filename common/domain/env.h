/*
 * env: the environment of a stage, expanded from (stage env, run env, student env).
 *
 * The result is an ordered list: the entries of the run's env, of the student's, and of the stage's
 * own, each in the order written. Names may repeat; in the form of an object the last one counts.
 * In the stage's own env, "" stands for the value of the same name and "$X" for the value of X,
 * looked up in the run's env, then in the student's; any other value is literal. The run's and the
 * students' values are always literal. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_ENV_H
#define COMMON_DOMAIN_ENV_H

#include <jansson.h>

#include "common/base/error.h"

/* The name that the value `value` of `name` in a stage's own env refers to, borrowed from either;
 * NULL: it is literal. */
const char *env_reference(const char *name, const char *value);

/* Checks that every reference of `stage` resolves, without building the result. Arguments and codes
 * as for env_expand. */
enum bw_code env_resolve(const json_t *stage, const json_t *run, const json_t *student,
                         const char *where, struct bw_error *error) BW_CHECKED;

/* Expands. Each of the three is an object of strings or NULL, borrowed. On BW_OK *list is a new
 * reference: an array of "NAME=value" strings. BW_BAD_REQUEST: a reference can't be resolved; the
 * sentence names it and the variable that refers to it (the prefix is `where`:
 * "student_pipeline[0].env, student 3"). */
enum bw_code env_expand(const json_t *stage, const json_t *run, const json_t *student,
                        const char *where, json_t **list, struct bw_error *error) BW_CHECKED;

/* The same as an object NAME → value; the last entry of a name counts. New reference; NULL: out of
 * memory. `list` is from env_expand; borrowed. */
json_t *env_object(const json_t *list);

#endif
