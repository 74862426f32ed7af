#include "common/base/json_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses `text` by jansson, writes it, and compares the result. */
static void assert_written(const char *text, const char *expected)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    char *written = json_write(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(written, expected);
    free(written);
    json_decref(value);
}

static void a_number_with_a_fraction_is_written_in_its_shortest_form(void **state)
{
    (void)state;
    static const char *const texts[] = {"0.1",     "0.7",     "1.1",   "2.675",    "-0.3", "1.0",
                                        "1e300",   "1e-7",    "100.0", "0.0",      "-0.0", "5e-324",
                                        "1.5e-09", "2.5e+30", "123.4", "1234567.8"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *value = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        char *written = json_write(value, JSON_ENCODE_ANY);
        assert_true(strlen(written) <= strlen(texts[i]));
        assert_true(strtod(written, NULL) == strtod(texts[i], NULL));
        free(written);
        json_decref(value);
    }
    assert_written("0.1", "0.1");
    assert_written("[0.1,0.2,{\"a\":0.30000000000000004}]",
                   "[0.1,0.2,{\"a\":0.30000000000000004}]");
    assert_written("[1e300,1e-7,5e-324,2.5e+30]", "[1e300,1e-7,5e-324,2.5e30]");
    assert_written("-0.0", "-0.0");
    assert_written("1.0", "1.0");
}

static void integers_and_strings_are_unchanged(void **state)
{
    (void)state;
    assert_written("[1,-2,9223372036854775807,-9223372036854775808]",
                   "[1,-2,9223372036854775807,-9223372036854775808]");
    assert_written("{\"0.10000000000000001\":\"0.10000000000000001 \\\" 0.10000000000000001\"}",
                   "{\"0.10000000000000001\":\"0.10000000000000001 \\\" 0.10000000000000001\"}");
    assert_written("[\"\\\\\",0.1,\"\\\\\\\"\",true,false,null]",
                   "[\"\\\\\",0.1,\"\\\\\\\"\",true,false,null]");
}

static void jansson_flags_are_applied(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:f,s:f}", "b", 0.1, "a", 0.7);
    char *written = json_write(value, JSON_SORT_KEYS);
    assert_string_equal(written, "{\"a\": 0.7, \"b\": 0.1}");
    free(written);
    json_decref(value);
    json_t *lone = json_integer(1);
    assert_null(json_write(lone, JSON_COMPACT)); /* no JSON_ENCODE_ANY */
    json_decref(lone);
}

/* xorshift: the same numbers each time. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void every_number_is_read_back_unchanged(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = next_random(&seed);
        double number;
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number))
            continue;
        char text[JSON_REAL_SIZE];
        size_t length = json_real_write(number, text);
        assert_int_equal(length, strlen(text));
        assert_true(strtod(text, NULL) == number);
        assert_non_null(strpbrk(text, ".e"));
    }
}

static void decimals_of_up_to_fifteen_digits_are_read_back_unchanged(void **state)
{
    (void)state;
    for (int i = 1; i < 100000; i += 2) {
        char expected[JSON_REAL_SIZE], text[JSON_REAL_SIZE];
        snprintf(expected, sizeof expected, "%d.%d", i / 1000, i % 1000 + 1000);
        json_real_write(strtod(expected, NULL), text);
        size_t length = strlen(expected);
        while (expected[length - 1] == '0')
            expected[--length] = '\0';
        assert_string_equal(text, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_with_a_fraction_is_written_in_its_shortest_form),
        cmocka_unit_test(integers_and_strings_are_unchanged),
        cmocka_unit_test(jansson_flags_are_applied),
        cmocka_unit_test(every_number_is_read_back_unchanged),
        cmocka_unit_test(decimals_of_up_to_fifteen_digits_are_read_back_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
