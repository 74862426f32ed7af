#include "common/domain/run_terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* The terms of a run as one text: "a|b|c". */
static void assert_terms(const char *course, const char *assignment, const char *name,
                         const char *labels, const char *expected)
{
    json_auto_t *object = labels != NULL ? json_loads(labels, 0, NULL) : NULL;
    json_auto_t *terms = run_terms(course, assignment, name, object);
    char text[512] = "";
    size_t index, length = 0;
    json_t *term;
    json_array_foreach (terms, index, term)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                   index > 0 ? "|" : "", json_string_value(term));
    assert_string_equal(text, expected);
}

static void terms_begin_with_the_scope(void **state)
{
    (void)state;
    assert_terms("", "", "", NULL, "classic");
    assert_terms("cs225", "mp1", "", "{}", "course/cs225|course/cs225 assignment mp1");
    assert_terms("", "", "a b", "{\"t\": \"x=y\", \"u\": \"\"}",
                 "classic|classic name a b|classic label t|classic label t=x=y|classic label u|"
                 "classic label u=");
    assert_terms("classic", "", "n", NULL, "course/classic|course/classic name n");
}

static void assert_labels(const char *text, const char *sentence)
{
    struct bw_error error;
    json_auto_t *labels = json_loads(text, 0, NULL);
    enum bw_code code = run_labels_check(labels, "labels", NULL, &error);
    assert_int_equal(code, sentence == NULL ? BW_OK : BW_BAD_REQUEST);
    if (sentence != NULL)
        assert_string_equal(error.message, sentence);
}

static void labels_are_bounded(void **state)
{
    char key[LABEL_KEY_LONGEST + 2] = "", text[256];
    (void)state;
    memset(key, 'k', LABEL_KEY_LONGEST);
    snprintf(text, sizeof text, "{\"%s\": \"\"}", key);
    assert_labels(text, NULL);
    assert_labels("{\"a-Z_0./\": \"\xC3\xBC\"}", NULL);
    assert_labels("{\"a\": null}", "labels.a: must be a string, not null");
    assert_labels("{\"a\": \"\\u0001\"}", "labels.a: must not contain control characters");
    assert_labels("{\"\": \"x\"}",
                  "labels: '' can't be the key of a label: it must have 1 to 63 letters, digits, "
                  "'-', '_', '.' and '/'");
    key[LABEL_KEY_LONGEST] = 'k';
    snprintf(text, sizeof text, "{\"%s\": \"\"}", key);
    struct bw_error error;
    json_auto_t *labels = json_loads(text, 0, NULL);
    assert_int_equal(run_labels_check(labels, "labels", NULL, &error), BW_BAD_REQUEST);
}

static enum bw_code check_label(const char *label)
{
    struct bw_error error;
    json_auto_t *value = json_string(label);
    return run_label_check(value, "label", NULL, &error);
}

static void list_asks_for_a_key_or_a_label(void **state)
{
    (void)state;
    assert_int_equal(check_label("team"), BW_OK);
    assert_int_equal(check_label("team="), BW_OK);
    assert_int_equal(check_label("team=a=b c"), BW_OK);
    assert_int_equal(check_label(""), BW_BAD_REQUEST);
    assert_int_equal(check_label("=a"), BW_BAD_REQUEST);
    assert_int_equal(check_label("a b=c"), BW_BAD_REQUEST);
    assert_int_equal(check_label("a=\n"), BW_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_begin_with_the_scope),
        cmocka_unit_test(labels_are_bounded),
        cmocka_unit_test(list_asks_for_a_key_or_a_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
