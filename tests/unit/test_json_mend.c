#include "common/base/json_mend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_write.h"

static const struct json_mend_limits limits = {.envelope = 0, .max_values = 1000};
static struct json_mend_report report;
static struct bw_error error;

/* The repaired `text`, as compact JSON; NULL: refused. Valid until the next call. */
static const char *mend_bytes(const char *text, size_t length, const struct json_mend_limits *with)
{
    static char *written;
    json_t *value = NULL;
    free(written);
    written = NULL;
    memset(&report, 0, sizeof report);
    char *copy = malloc(length + 1); /* so that a sanitizer detects reads beyond the end */
    memcpy(copy, text, length);
    copy[length] = '\0';
    enum bw_code code = json_parse_mended(copy, length, "the body", with, NULL, &value, &report,
                                          &error);
    free(copy);
    if (code != BW_OK)
        return NULL;
    written = json_write(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    return written;
}

static const char *mend_within(const char *text, const struct json_mend_limits *with)
{
    return mend_bytes(text, strlen(text), with);
}

static const char *mend(const char *text)
{
    return mend_within(text, &limits);
}

static size_t counted(void)
{
    size_t sum = 0;
    for (size_t kind = 0; kind < JSON_MEND_KINDS; kind++)
        sum += report.counts[kind];
    return sum;
}

static void assert_mended(const char *text, const char *expected, enum json_mend kind, size_t times)
{
    const char *mended = mend(text);
    if (mended == NULL)
        fail_msg("refused: %s", text);
    assert_string_equal(mended, expected);
    assert_int_equal(report.counts[kind], times);
    assert_int_equal(counted(), times);
}

static void valid_json_is_unchanged_and_not_counted(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "[1,-2,0.5,true,false,null,\"\xC3\xBC\\n\"]", "\"a\"",
                                        "{\"a\":{\"b\":[{}]}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_string_equal(mend(texts[i]), texts[i]);
        assert_int_equal(counted(), 0);
    }
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    assert_mended("\"a\xFF\xFE\"", "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"", JSON_MEND_BYTES, 2);
    assert_mended("\"\xC3\"", "\"\xEF\xBF\xBD\"", JSON_MEND_BYTES, 1);
    assert_mended("\"\xE2\x82z\"", "\"\xEF\xBF\xBDz\"", JSON_MEND_BYTES, 1);
    assert_mended("\"\xC0\x80\"", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", JSON_MEND_BYTES, 2);
    assert_mended("\"\xED\xA0\x80\"", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"", JSON_MEND_BYTES,
                  3);
    assert_mended("\"\xF4\x90\x80\x80\xF0\x9F\x98\x80\"",
                  "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xF0\x9F\x98\x80\"",
                  JSON_MEND_BYTES, 4);
    assert_mended("{\"k\xFF\":1}", "{\"k\xEF\xBF\xBD\":1}", JSON_MEND_BYTES, 1);
}

static void nul_is_dropped_raw_or_escaped(void **state)
{
    (void)state;
    assert_mended("\"a\\u0000b\"", "\"ab\"", JSON_MEND_NULS, 1);
    assert_mended("{\"a\\u0000\":1}", "{\"a\":1}", JSON_MEND_NULS, 1);
    assert_string_equal(mend_bytes("\"a\0b\"", 5, &limits), "\"ab\"");
    assert_int_equal(report.counts[JSON_MEND_NULS], 1);
    assert_string_equal(mend_bytes("[1]\0\0", 5, &limits), "[1]");
    assert_int_equal(report.counts[JSON_MEND_NULS], 2);
}

static void python_nan_and_infinity_become_null(void **state)
{
    (void)state;
    assert_mended("[NaN, Infinity, -Infinity]", "[null,null,null]", JSON_MEND_CONSTANTS, 3);
    assert_mended("[nan,-inf,+Inf]", "[null,null,null]", JSON_MEND_CONSTANTS, 3);
    assert_mended("{\"NaN\":NaN}", "{\"NaN\":null}", JSON_MEND_CONSTANTS, 1);
}

static void numbers_that_do_not_fit_are_rounded_or_null(void **state)
{
    (void)state;
    assert_mended("[9223372036854775807,9223372036854775808]",
                  "[9223372036854775807,9.223372036854776e18]", JSON_MEND_INTEGERS, 1);
    assert_mended("-18446744073709551616", "-1.8446744073709552e19", JSON_MEND_INTEGERS, 1);
    assert_mended("[1e400,-1e400,1]", "[null,null,1]", JSON_MEND_NUMBERS, 2);
    char huge[1000];
    memset(huge, '9', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    assert_mended(huge, "null", JSON_MEND_NUMBERS, 1);
}

static void lone_surrogates_are_replaced_and_pairs_kept(void **state)
{
    (void)state;
    assert_mended("\"\\ud800\"", "\"\xEF\xBF\xBD\"", JSON_MEND_SURROGATES, 1);
    assert_mended("\"\\udc00\\ud83d\\ude00\\ud83d\"",
                  "\"\xEF\xBF\xBD\xF0\x9F\x98\x80\xEF\xBF\xBD\"", JSON_MEND_SURROGATES, 2);
}

static void control_characters_and_unknown_escapes_are_kept_as_text(void **state)
{
    (void)state;
    assert_mended("\"a\nb\tc\"", "\"a\\nb\\tc\"", JSON_MEND_CONTROLS, 2);
    assert_mended("\"\\x41 \\u12\"", "\"\\\\x41 \\\\u12\"", JSON_MEND_ESCAPES, 2);
}

static void last_of_duplicate_keys_counts(void **state)
{
    (void)state;
    assert_mended("{\"a\":1,\"a\":2}", "{\"a\":2}", JSON_MEND_KEYS, 1);
}

static void too_deep_nesting_is_replaced_by_a_sentence(void **state)
{
    (void)state;
    char text[3000], expected[300];
    memset(text, '[', 1000);
    memset(text + 1000, ']', 1000);
    text[2000] = '\0';
    memset(expected, '[', 32);
    snprintf(expected + 32, sizeof expected - 32, "\"[cut: nested more than 32 levels deep]\"");
    size_t length = strlen(expected);
    memset(expected + length, ']', 32);
    expected[length + 32] = '\0';
    assert_mended(text, expected, JSON_MEND_DEPTH, 1);
}

/* A list of as many zeros in a NUL-terminated text. */
static char *zeros(const char *before, size_t count, const char *after)
{
    size_t length = strlen(before), room = length + 2 * count + strlen(after) + 1;
    char *text = malloc(room);
    memcpy(text, before, length);
    for (size_t i = 0; i < count; i++) {
        text[length++] = '0';
        text[length++] = ',';
    }
    snprintf(text + length - 1, room - length + 1, "%s", after);
    return text;
}

static void too_many_values_are_cut_except_in_the_envelope(void **state)
{
    (void)state;
    static const struct json_mend_limits few = {.envelope = 1, .max_values = 3};
    /* NaN, so that the text is repaired at all */
    char *text = zeros("{\"success\":NaN,\"result\":[", 10, "],\"logs\":{\"a\":1,\"b\":[2,3,4]}}");
    assert_string_equal(mend_bytes(text, strlen(text), &few),
                        "{\"success\":null,\"result\":[0,0,0,{\"cut\":\"more than 3 values\"}],"
                        "\"logs\":{\"a\":1,\"b\":[2,{\"cut\":\"more than 3 values\"}]}}");
    assert_int_equal(report.counts[JSON_MEND_VALUES], 2);
    free(text);
    assert_string_equal(mend_within("{\"r\":{\"a\":NaN,\"b\":1,\"c\":2,\"d\":3}}", &few),
                        "{\"r\":{\"a\":null,\"b\":1,\"c\":2,\"cut\":\"more than 3 values\"}}");
}

static void an_envelope_of_too_many_members_is_refused(void **state)
{
    (void)state;
    static const struct json_mend_limits few = {.envelope = 1, .max_values = 3};
    char text[2000] = "{\"a\":NaN";
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",\"%d\":%d", i, i);
    snprintf(text + strlen(text), sizeof text - strlen(text), "}");
    assert_null(mend_bytes(text, strlen(text), &few));
    assert_string_equal(
        mend_within("{\"a\":[NaN,1,2],\"b\":[1,2,3],\"c\":[1,2]}", &few),
        "{\"a\":[null,1,2],\"b\":[1,2,3],\"c\":[{\"cut\":\"more than 3 values\"}]}");
}

static void repaired_text_has_a_bounded_size(void **state)
{
    (void)state;
    enum { JUNK = 1000000 };
    static const char bytes[] = {(char)0xFF, 0x01, '\n', '\\'};
    for (size_t i = 0; i < sizeof bytes; i++) {
        char *text = malloc(JUNK + 2);
        memset(text, bytes[i], JUNK + 2);
        text[0] = text[JUNK + 1] = '"';
        text[JUNK] = 'x'; /* so that the last backslash escapes no quote */
        json_t *value = NULL;
        memset(&report, 0, sizeof report);
        assert_int_equal(
            json_parse_mended(text, JUNK + 2, "the body", &limits, NULL, &value, &report, &error),
            BW_OK);
        assert_true(json_string_length(value) < JUNK + 200000);
        json_decref(value);
        free(text);
    }
}

static void text_that_is_not_json_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",      "{",     "[1",    "{\"a\"",    "{\"a\":}", "[1,]",      "{,}",
        "\"a",   "\"a\\", "nope",  "[1] x",     "{'a':1}",  "{\"a\" 1}", "01",
        "1.",    ".5",    "+1",    "--1",       "1e",       "[1 2]",     "]",
        "{1:2}", "[NaN",  "\"\\u", "[[[[[[[[[", "\xFF",     "NaN NaN",   "true1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (mend(texts[i]) != NULL)
            fail_msg("taken: %s", texts[i]);
        assert_int_equal(counted(), 0);
    }
}

static void a_byte_order_mark_is_skipped(void **state)
{
    (void)state;
    assert_string_equal(mend("\xEF\xBB\xBF{\"a\":1}"), "{\"a\":1}");
}

static void text_of_a_form_is_repaired(void **state)
{
    (void)state;
    memset(&report, 0, sizeof report);
    json_t *string = json_string_mended("a\0\xFF\"\n", 5, &report);
    assert_string_equal(json_string_value(string), "a\xEF\xBF\xBD\"\n");
    assert_int_equal(report.counts[JSON_MEND_NULS], 1);
    assert_int_equal(report.counts[JSON_MEND_BYTES], 1);
    json_decref(string);
    string = json_string_mended("\0", 1, &report);
    assert_string_equal(json_string_value(string), "");
    json_decref(string);
}

static void note_lists_the_repairs(void **state)
{
    (void)state;
    char note[JSON_NOTE_SIZE];
    mend("[NaN,\"\\u0000\\ud800\"]");
    assert_string_equal(json_mend_note(&report, note),
                        "mended: 1 NUL characters dropped, 1 lone surrogates replaced, "
                        "1 times NaN or Infinity replaced by null");
    for (size_t kind = 0; kind < JSON_MEND_KINDS; kind++)
        report.counts[kind] = SIZE_MAX;
    assert_true(strlen(json_mend_note(&report, note)) < JSON_NOTE_SIZE);
    memset(&report, 0, sizeof report);
    assert_string_equal(json_mend_note(&report, note), "");
}

static void sender_is_found_in_an_invalid_body(void **state)
{
    (void)state;
    char id[33];
    static const char broken[] =
        "{ \"x\" : {\"worker_id\": \"inner\"}, \"y\": \"\\\"worker_id\\\": "
        "\\\"fake\\\"\",\n \"worker_id\" :\t\"abc\", \"result\": [nope";
    assert_true(json_find_text(broken, sizeof broken - 1, "worker_id", 0, id, sizeof id));
    assert_string_equal(id, "abc");
    assert_true(json_find_text(broken, sizeof broken - 1, "worker_id", 1, id, sizeof id));
    assert_string_equal(id, "inner");
    static const char escaped[] = "{\"\\u0077orker\\u005Fid\":\"a\\u0062\\/\\n\", \"x";
    assert_true(json_find_text(escaped, sizeof escaped - 1, "worker_id", 0, id, sizeof id));
    assert_string_equal(id, "ab/\n");
    static const char *const others[] = {"",
                                         "{\"worker_id\"",
                                         "{\"worker_id\":",
                                         "{\"worker_id\":5}",
                                         "{\"worker_id\":\"abc",
                                         "{\"a\":\"worker_id\"}",
                                         "{\"worker_id\":\"a\\u00e9\"}",
                                         "{\"worker_id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
                                         "\"worker_id\":\"a\""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(json_find_text(others[i], strlen(others[i]), "worker_id", 0, id, sizeof id));
}

/* xorshift: the same bytes each time. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* For random bytes: an accepted text is valid JSON after the repair, the same input gives the same
 * output, and repairing the output changes nothing. */
static void random_bytes_are_repaired_or_refused(void **state)
{
    (void)state;
    static const char seedling[] = "{\"worker_id\":\"ab\",\"result\":[1,-2.5e3,NaN,\"\\ud800\\u0000"
                                   "\xC3\xBC\xFF\",{\"a\":{\"b\":[true,null]}}],\"logs\":{}}";
    static const char alphabet[] = "{}[]\",:\\u0123456789abcdefdDNaIe+-.\xC3\xBC\xFF\n\0 ";
    uint64_t seed = 88172645463325252u;
    size_t taken = 0;
    for (int round = 0; round < 60000; round++) {
        char text[sizeof seedling];
        memcpy(text, seedling, sizeof text);
        for (uint64_t changes = next_random(&seed) % 4; changes > 0; changes--)
            text[next_random(&seed) % (sizeof text - 1)] =
                alphabet[next_random(&seed) % (sizeof alphabet - 1)];
        size_t length = sizeof text - 1 - (round % 8 == 0 ? next_random(&seed) % 20 : 0);
        const char *mended = mend_bytes(text, length, &limits);
        if (mended == NULL)
            continue;
        taken++;
        char *first = strdup(mended);
        assert_string_equal(mend_bytes(text, length, &limits), first);
        assert_string_equal(mend(first), first);
        assert_int_equal(counted(), 0);
        free(first);
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_json_is_unchanged_and_not_counted),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(nul_is_dropped_raw_or_escaped),
        cmocka_unit_test(python_nan_and_infinity_become_null),
        cmocka_unit_test(numbers_that_do_not_fit_are_rounded_or_null),
        cmocka_unit_test(lone_surrogates_are_replaced_and_pairs_kept),
        cmocka_unit_test(control_characters_and_unknown_escapes_are_kept_as_text),
        cmocka_unit_test(last_of_duplicate_keys_counts),
        cmocka_unit_test(too_deep_nesting_is_replaced_by_a_sentence),
        cmocka_unit_test(too_many_values_are_cut_except_in_the_envelope),
        cmocka_unit_test(an_envelope_of_too_many_members_is_refused),
        cmocka_unit_test(repaired_text_has_a_bounded_size),
        cmocka_unit_test(text_that_is_not_json_is_refused),
        cmocka_unit_test(a_byte_order_mark_is_skipped),
        cmocka_unit_test(text_of_a_form_is_repaired),
        cmocka_unit_test(note_lists_the_repairs),
        cmocka_unit_test(sender_is_found_in_an_invalid_body),
        cmocka_unit_test(random_bytes_are_repaired_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
