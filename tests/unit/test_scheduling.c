#include "common/domain/scheduling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum bw_code scheduling_check(const json_t *value, const char *path, const void *context,
                                      struct bw_error *error);

/* Checks a JSON text; `sentence` NULL: it is valid. */
static void assert_checked(scheduling_check *check, const char *path, const char *text,
                           const char *sentence)
{
    struct bw_error error;
    json_auto_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    enum bw_code code = check(value, path, NULL, &error);
    assert_int_equal(code, sentence == NULL ? BW_OK : BW_BAD_REQUEST);
    if (sentence != NULL)
        assert_string_equal(error.message, sentence);
}

static void classes_are_found_by_name_and_have_a_rank(void **state)
{
    static const struct {
        const char *name;
        unsigned rank;
    } expected[] = {{"exam", 0}, {"interactive", 1}, {"normal", 2}, {"batch", 3}};
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        enum run_class run_class;
        assert_true(run_class_find(expected[i].name, &run_class));
        assert_string_equal(run_class_name(run_class), expected[i].name);
        assert_int_equal(run_class_rank(run_class), expected[i].rank);
    }
    assert_int_equal(RUN_CLASS_NORMAL, 0); /* of a struct run that is all zeros */
}

static void unknown_class_is_refused(void **state)
{
    enum run_class run_class = RUN_CLASS_BATCH;
    (void)state;
    assert_false(run_class_find("urgent", &run_class));
    assert_false(run_class_find("", &run_class));
    assert_false(run_class_find("Exam", &run_class));
    assert_int_equal(run_class, RUN_CLASS_BATCH);
    assert_checked(run_class_check, "class", "\"batch\"", NULL);
    assert_checked(run_class_check, "class", "\"now\"",
                   "class: must be exam, interactive, normal or batch, not 'now'");
}

static void lists_of_classes_become_bits_and_back(void **state)
{
    unsigned both = 1U << RUN_CLASS_EXAM | 1U << RUN_CLASS_BATCH;
    json_auto_t *given = json_loads("[\"batch\", \"exam\", \"batch\"]", 0, NULL);
    json_auto_t *sorted = json_loads("[\"exam\", \"batch\"]", 0, NULL);
    json_auto_t *listed = run_classes_list(both), *all = run_classes_list(RUN_CLASSES_ALL);
    (void)state;
    assert_int_equal(run_classes_of(given), both);
    assert_int_equal(run_classes_of(NULL), 0);
    assert_int_equal(run_classes_of(all), RUN_CLASSES_ALL);
    assert_true(json_equal(listed, sorted));
    assert_checked(run_classes_check, "classes", "[\"batch\", \"exam\"]", NULL);
    assert_checked(run_classes_check, "classes", "[]", "classes: must have a class at least");
    assert_checked(run_classes_check, "classes", "null", "classes: must be a list, not null");
    assert_checked(run_classes_check, "classes", "[\"exam\", 1]",
                   "classes[1]: must be a string, not a number");
    assert_checked(run_classes_check, "classes", "[\"vip\"]",
                   "classes[0]: must be exam, interactive, normal or batch, not 'vip'");
}

static void required_tags_are_checked_like_those_of_graders(void **state)
{
    (void)state;
    assert_checked(run_requires_check, "requires", "[\"gpu\", \"lab-2.x_y\", \"gpu\"]", NULL);
    assert_checked(run_requires_check, "requires", "\"gpu\"",
                   "requires: must be a list, not a string");
    assert_checked(run_requires_check, "requires", "null", "requires: must be a list, not null");
    assert_checked(run_requires_check, "requires", "[]", "requires: must have 1 to 32 tags, not 0");
    assert_checked(run_requires_check, "requires", "[\"gpu\", 2]",
                   "requires[1]: must be a string, not a number");
    assert_checked(run_requires_check, "requires", "[\"\"]", "requires[0]: has an empty name");
    assert_checked(run_requires_check, "requires", "[\"a,b\"]",
                   "requires[0]: names consist of letters, digits, '.', '_' and '-'");
}

/* `count` different tags of `length` bytes each. */
static json_t *tags_of(size_t count, size_t length)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char tag[WORKER_TAG_LONGEST + 2];
        memset(tag, 'x', sizeof tag);
        tag[length] = '\0';
        tag[0] = (char)(i < 26 ? 'A' + i : '0' + i - 26);
        json_array_append_new(list, json_string(tag));
    }
    return list;
}

static void assert_tags(size_t count, size_t length, enum bw_code expected)
{
    struct bw_error error;
    json_auto_t *list = tags_of(count, length);
    assert_int_equal(run_requires_check(list, "requires", NULL, &error), expected);
    if (expected != BW_OK)
        return;
    char *text = run_requires_text(list);
    assert_int_equal(strlen(text), count * (length + 1) - 1);
    free(text);
}

static void required_tags_are_bounded(void **state)
{
    (void)state;
    assert_tags(WORKER_TAGS, 1, BW_OK);
    assert_tags(WORKER_TAGS + 1, 1, BW_BAD_REQUEST);
    assert_tags(1, WORKER_TAG_LONGEST, BW_OK);
    assert_tags(1, WORKER_TAG_LONGEST + 1, BW_BAD_REQUEST);
    assert_tags(8, 63, BW_OK); /* 8 * 64 - 1 bytes */
    assert_tags(8, 64, BW_BAD_REQUEST);
}

static void assert_text(const char *list, const char *expected)
{
    json_auto_t *tags = json_loads(list, 0, NULL);
    char *text = run_requires_text(tags);
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
    free(text);
}

static void text_of_tags_is_sorted_and_has_each_once(void **state)
{
    (void)state;
    assert_text("[\"gpu\", \"cpu\"]", "cpu,gpu");
    assert_text("[\"b\", \"a\", \"b\", \"a\"]", "a,b");
    assert_text("[\"one\"]", "one");
    assert_text("[]", NULL);
    assert_null(run_requires_text(NULL));
}

static void submitter_is_a_short_text(void **state)
{
    char text[SUBMITTER_SIZE + 3];
    (void)state;
    assert_checked(run_submitter_check, "submitter", "\"j\xC3\xBCrgen@x (TA)\"", NULL);
    assert_checked(run_submitter_check, "submitter", "\"\"",
                   "submitter: must have 1 to 128 bytes, not 0");
    assert_checked(run_submitter_check, "submitter", "\"a\\nb\"",
                   "submitter: must not contain control characters");
    memset(text, 's', sizeof text);
    text[0] = text[SUBMITTER_SIZE] = '"';
    text[SUBMITTER_SIZE + 1] = '\0';
    assert_checked(run_submitter_check, "submitter", text, NULL);
    text[SUBMITTER_SIZE] = 's';
    text[SUBMITTER_SIZE + 1] = '"';
    text[SUBMITTER_SIZE + 2] = '\0';
    assert_checked(run_submitter_check, "submitter", text,
                   "submitter: must have 1 to 128 bytes, not 129");
}

static void tags_include_what_is_wanted(void **state)
{
    (void)state;
    assert_true(worker_tags_include("cpu,gpu,lab-2", "gpu"));
    assert_true(worker_tags_include("cpu,gpu,lab-2", "lab-2,cpu"));
    assert_true(worker_tags_include("", ""));
    assert_true(worker_tags_include(NULL, NULL));
    assert_true(worker_tags_include("gpu", NULL));
    assert_false(worker_tags_include("cpu,gpu", "gpu,lab-2"));
    assert_false(worker_tags_include("gpu-2", "gpu"));
    assert_false(worker_tags_include("gp", "gpu"));
    assert_false(worker_tags_include("", "gpu"));
    assert_false(worker_tags_include(NULL, "gpu"));
}

static void reservation_allows_its_courses_and_classes(void **state)
{
    char courses[2][WORKER_ID_SIZE] = {"cs225", "cs241"};
    struct reservation reservation = {.classes = 1U << RUN_CLASS_EXAM | 1U << RUN_CLASS_NORMAL};
    (void)state;
    assert_true(reservation_allows(&reservation, "cs101", RUN_CLASS_EXAM));
    assert_true(reservation_allows(&reservation, "", RUN_CLASS_NORMAL));
    assert_false(reservation_allows(&reservation, "cs101", RUN_CLASS_BATCH));
    reservation.courses = courses;
    reservation.course_count = 2;
    assert_true(reservation_allows(&reservation, "cs241", RUN_CLASS_EXAM));
    assert_false(reservation_allows(&reservation, "cs241", RUN_CLASS_INTERACTIVE));
    assert_false(reservation_allows(&reservation, "cs101", RUN_CLASS_EXAM));
    assert_false(reservation_allows(&reservation, "", RUN_CLASS_EXAM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_found_by_name_and_have_a_rank),
        cmocka_unit_test(unknown_class_is_refused),
        cmocka_unit_test(lists_of_classes_become_bits_and_back),
        cmocka_unit_test(required_tags_are_checked_like_those_of_graders),
        cmocka_unit_test(required_tags_are_bounded),
        cmocka_unit_test(text_of_tags_is_sorted_and_has_each_once),
        cmocka_unit_test(submitter_is_a_short_text),
        cmocka_unit_test(tags_include_what_is_wanted),
        cmocka_unit_test(reservation_allows_its_courses_and_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
