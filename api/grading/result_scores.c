#include "api/grading/result_scores.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_write.h"
#include "common/base/text_cut.h"

enum {
    NAME_LONGEST = 1024,
    WORD_LONGEST = 64,
    LEAST_OUTPUT = 200 /* bytes that are kept of any test's output */
};

/* ---- Types ---- */

static enum bw_code check_status(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    static const char *const names[] = {"passed", "failed", "error", "skipped"};
    char shown[80];
    (void)context;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], json_string_value(value)) == 0)
            return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of passed, failed, error, skipped",
                   path, text_show(json_string_value(value), shown, sizeof shown));
}

static const struct json_field test_fields[] = {
    {.name = "name",
     .kind = FIELD_STRING,
     .is_required = true,
     .minimum = 1,
     .maximum = NAME_LONGEST},
    {.name = "score", .kind = FIELD_NUMBER, .minimum = -SCORE_HIGHEST, .maximum = SCORE_HIGHEST},
    {.name = "max_score",
     .kind = FIELD_NUMBER,
     .minimum = -SCORE_HIGHEST,
     .maximum = SCORE_HIGHEST},
    {.name = "status", .kind = FIELD_STRING, .check = check_status},
    {.name = "output", .kind = FIELD_STRING},
    {.name = "output_format", .kind = FIELD_STRING, .minimum = 1, .maximum = WORD_LONGEST},
    {.name = "visibility", .kind = FIELD_STRING, .minimum = 1, .maximum = WORD_LONGEST},
    {.name = NULL},
};

enum bw_code result_scores_check_tests(const json_t *value, const char *path, const void *context,
                                       struct bw_error *error)
{
    size_t index;
    json_t *test;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, test) {
        char at[64];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = json_check(test, test_fields, at, context, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

enum bw_code result_scores_check_owner(const json_t *value, const char *path, const void *context,
                                       struct bw_error *error)
{
    char shown[80];
    (void)context;
    if (owner_parse(json_string_value(value)) == OWNER_COURSE)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be 'course', not '%s'", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

/* ---- What is kept ---- */

static size_t result_scores_size(const json_t *value)
{
    return json_dumpb(value, NULL, 0, JSON_COMPACT);
}

/* A copy whose output has at most `longest` bytes. New reference. */
static json_t *result_scores_cut_test(const json_t *test, size_t longest)
{
    const json_t *output = json_object_get(test, "output");
    json_t *copy = json_copy((json_t *)(uintptr_t)test);
    if (json_string_length(output) <= longest)
        return copy;
    size_t length;
    char *cut = text_cut(json_string_value(output), json_string_length(output), longest, &length);
    json_object_set_new(copy, "output", json_stringn(cut, length));
    free(cut);
    return copy;
}

/* The first tests, as many as fit, with their outputs cut to `longest` bytes. New reference. */
static json_t *result_scores_fit(const json_t *tests, size_t longest)
{
    size_t index, used = 2;
    json_t *test, *kept = json_array();
    json_array_foreach (tests, index, test) {
        json_t *cut = result_scores_cut_test(test, longest);
        used += result_scores_size(cut) + 1;
        json_array_append_new(kept, cut);
        if (used <= RESULT_TESTS_BYTES && index < RESULT_TESTS_MAX)
            continue;
        json_array_remove(kept, index);
        break;
    }
    return kept;
}

/* The text of the list of tests. New, free(); NULL: out of memory. */
static char *result_scores_write_tests(const json_t *tests, char note[RESULT_SCORES_NOTE_SIZE])
{
    size_t count = json_array_size(tests), room = RESULT_TESTS_BYTES / 2 / (count + 1);
    bool is_cut = result_scores_size(tests) > RESULT_TESTS_BYTES;
    size_t longest = room > LEAST_OUTPUT ? room : LEAST_OUTPUT;
    json_auto_t *kept = result_scores_fit(tests, is_cut ? longest : RESULT_TESTS_BYTES);
    if (json_array_size(kept) < count)
        snprintf(note, RESULT_SCORES_NOTE_SIZE, "%zu of %zu tests left out",
                 count - json_array_size(kept), count);
    else if (is_cut)
        snprintf(note, RESULT_SCORES_NOTE_SIZE, "outputs of tests over %zu bytes cut", longest);
    return json_write(kept, JSON_COMPACT);
}

void result_scores_take(const json_t *arguments, struct result *result,
                        char note[RESULT_SCORES_NOTE_SIZE])
{
    const json_t *score = json_object_get(arguments, "score"),
                 *max_score = json_object_get(arguments, "max_score"),
                 *tests = json_object_get(arguments, "tests"),
                 *owner = json_object_get(arguments, "owner");
    note[0] = '\0';
    result->has_score = score != NULL;
    result->score = json_number_value(score);
    result->has_max_score = max_score != NULL;
    result->max_score = json_number_value(max_score);
    if (tests != NULL)
        result->tests = result_scores_write_tests(tests, note);
    if (owner != NULL && result->outcome == OUTCOME_FAILED)
        result->owner = OWNER_COURSE;
}

void result_scores_copy(const json_t *arguments, json_t *object)
{
    static const char *const names[] = {"score", "max_score", "tests", "owner"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(arguments, names[i]);
        if (value != NULL)
            json_object_set(object, names[i], value);
    }
}
