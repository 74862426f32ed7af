/*
 * result_scores: the scores that a grader's result may have beside its value, and who it says is at
 * fault:
 *
 *     "score": 7.5, "max_score": 10,
 *     "tests": [{"name": "compiles", "score": 1, "max_score": 1, "status": "passed"}],
 *     "owner": "course"
 *
 * Nothing is read from the value itself, which may be of any shape. Wrong types fail the job, as
 * those of other arguments do. What is only too long is cut or left out, and the result's note says
 * so. Callers: the handlers of results check, result_submission takes. Pure; safe from any thread.
 */
#ifndef API_GRADING_RESULT_SCORES_H
#define API_GRADING_RESULT_SCORES_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/store/result_store.h"

/* The tests of a result: how many are kept, and their bytes as compact JSON. */
enum { RESULT_TESTS_MAX = 1000, RESULT_TESTS_BYTES = 1024 * 1024, RESULT_SCORES_NOTE_SIZE = 128 };

#define SCORE_HIGHEST 1e9

/* Rows of a table of a result's fields, for both protocols. `tests` has a row of its own. */
#define RESULT_SCORES_FIELDS                                                                      \
    {.name = "score", .kind = FIELD_NUMBER, .minimum = -SCORE_HIGHEST, .maximum = SCORE_HIGHEST}, \
        {.name = "max_score",                                                                     \
         .kind = FIELD_NUMBER,                                                                    \
         .minimum = -SCORE_HIGHEST,                                                               \
         .maximum = SCORE_HIGHEST},                                                               \
    {                                                                                             \
        .name = "owner", .kind = FIELD_STRING, .check = result_scores_check_owner                 \
    }

/* Checks for tables of fields: the owner that a grader may state, "course"; a list of tests.
 * BW_BAD_REQUEST. */
enum bw_code result_scores_check_owner(const json_t *value, const char *path, const void *context,
                                       struct bw_error *error) BW_CHECKED;
enum bw_code result_scores_check_tests(const json_t *value, const char *path, const void *context,
                                       struct bw_error *error) BW_CHECKED;

/* Takes the scores into a result whose outcome is set: score, max_score, tests (new, free()), and,
 * if it has failed, its owner. `arguments`: an object with these keys among others, checked; NULL:
 * there are none. `note` says what was left out; "": nothing. */
void result_scores_take(const json_t *arguments, struct result *result,
                        char note[RESULT_SCORES_NOTE_SIZE]);

/* Adds those of the keys that `arguments` has to `object`, for a digest. */
void result_scores_copy(const json_t *arguments, json_t *object);

#endif
