#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct bw_error error;

/* The sentence with which json_parse refuses `text`; "": accepted. */
static const char *parse_bytes(const char *text, size_t length)
{
    json_t *value = NULL;
    memset(&error, 0, sizeof error);
    enum bw_code code = json_parse(text, length, "the body", &value, &error);
    assert_int_equal(code == BW_OK, value != NULL);
    assert_true(code == BW_OK || code == BW_BAD_REQUEST);
    json_decref(value);
    if (code == BW_OK)
        return "";
    json_t *valid = json_string(error.message); /* refuses what is not UTF-8 */
    assert_non_null(valid);
    json_decref(valid);
    return error.message;
}

static const char *parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void any_json_value_is_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",     "[]",    "null",   "true",          "1",
                                        "-1.5e3", "\"a\"", " {} \n", "{\"a\":[1,{}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(parse(texts[i]), "");
}

static void invalid_json_is_refused_with_its_position_but_not_its_text(void **state)
{
    (void)state;
    assert_string_equal(parse(""), "the body is not valid JSON: line 1, column 0");
    assert_string_equal(parse("{\n \"a\": secret}"),
                        "the body is not valid JSON: line 2, column 12");
    static const char *const texts[] = {"{",       "{nonsense", "{}{}",        "[1,]", "NaN",
                                        "{'a':1}", "\"a\nb\"",  "\"\\ud800\"", "{} x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_non_null(strstr(parse(texts[i]), "the body is not valid JSON: line "));
}

static void a_duplicate_key_is_named_at_every_level(void **state)
{
    (void)state;
    assert_string_equal(
        parse("{\"a\":1,\"a\":2}"),
        "the body has the key 'a' twice in one object, the second time at line 1, column 10");
    assert_non_null(
        strstr(parse("[{\"b\":{\"NETID\":1,\"x\":2,\n\"NETID\":1}}]"), "the key 'NETID' twice"));
    assert_non_null(strstr(
        parse("{\"a_key_of_more_than_twenty_bytes\":1,\"a_key_of_more_than_twenty_bytes\":1}"),
        "the key 'a_key_of_more_than_twenty_bytes' twice"));
    assert_non_null(strstr(parse("{\"\":1,\"\":1}"), "the key '' twice"));
    assert_non_null(strstr(parse("{\"a\\\"b\":1,\"a\\\"b\":1}"), "the key 'a\\\"b' twice"));
    assert_non_null(strstr(parse("{\"a\\\\\":1,\"a\\\\\":1}"), "the key 'a\\\\' twice"));
    assert_non_null(strstr(parse("{\"ü\":1,\"\\u00fc\":1}"), "the key '\\u00fc' twice"));
    assert_non_null(strstr(parse("{\"\\u00fc\":1,\"ü\" :1}"), "the key 'ü' twice"));
}

static void a_long_duplicate_key_is_cut(void **state)
{
    (void)state;
    char text[2100], key[1000];
    memset(key, 'k', sizeof key);
    snprintf(text, sizeof text, "{\"%.1000s\":1,\"%.1000s\":1}", key, key);
    assert_non_null(strstr(parse(text), "kkk…' twice"));
    assert_true(strlen(error.message) < 250);
}

static void nul_and_invalid_utf8_are_refused(void **state)
{
    (void)state;
    assert_string_equal(parse("\"\xff\""), "the body is not UTF-8");
    assert_string_equal(parse("{\"\xc0\xaf\":1}"), "the body is not UTF-8");
    assert_non_null(strstr(parse("\"a\\u0000\""), "NUL"));
    assert_non_null(strstr(parse("{\"a\\u0000b\":1}"), "NUL"));
    assert_true(strlen(parse_bytes("{}\0", 3)) > 0);
    assert_true(strlen(parse_bytes("\"a\0b\"", 5)) > 0);
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(parse("123456789012345678901234567890"), "number that is too large"));
    assert_non_null(strstr(parse("[-123456789012345678901234567890]"), "number that is too large"));
    assert_non_null(strstr(parse("1e999"), "number that is too large"));
}

/* `inside` between `depth` times `open` and as many `close`. */
static char *nested(int depth, const char *open, const char *inside, const char *close)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    for (int i = 0; i < depth; i++)
        fputs(open, stream);
    fputs(inside, stream);
    for (int i = 0; i < depth; i++)
        fputs(close, stream);
    fclose(stream);
    return text;
}

static const char *parse_nested(int depth, const char *open, const char *inside, const char *close)
{
    char *text = nested(depth, open, inside, close);
    const char *answer = parse(text);
    free(text);
    return answer;
}

static void nesting_is_bounded_before_the_parser_runs(void **state)
{
    (void)state;
    static const char too_deep[] = "the body is nested more than 32 levels deep";
    assert_string_equal(parse_nested(32, "[", "", "]"), "");
    assert_string_equal(parse_nested(33, "[", "", "]"), too_deep);
    assert_string_equal(parse_nested(32, "{\"a\":", "1", "}"), "");
    assert_string_equal(parse_nested(33, "{\"a\":", "1", "}"), too_deep);
    assert_string_equal(parse_nested(1000000, "[", "", ""), too_deep);
}

static void brackets_in_strings_do_not_count_as_nesting(void **state)
{
    (void)state;
    char *brackets = nested(100, "[{", "", "");
    char text[400];
    snprintf(text, sizeof text, "[\"%s\"]", brackets);
    assert_string_equal(parse(text), "");
    snprintf(text, sizeof text, "[\"\\\"%s\"]", brackets);
    assert_string_equal(parse(text), "");
    snprintf(text, sizeof text, "[\"\\\\\",%s]",
             brackets); /* the brackets are outside the string */
    assert_non_null(strstr(parse(text), "nested"));
    free(brackets);
}

/* ---- Schemas ---- */

static enum bw_code check_even(const json_t *value, const char *path, const void *context,
                               struct bw_error *reason)
{
    assert_string_equal(context, "context");
    if (json_integer_value(value) % 2 == 0)
        return BW_OK;
    return bw_fail(reason, BW_BAD_REQUEST, "%s: must be even", path);
}

static const struct json_field inner_fields[] = {
    {.name = "even", .kind = FIELD_INTEGER, .check = check_even},
    {.name = "flag", .kind = FIELD_BOOLEAN, .is_required = true},
    {.name = NULL},
};

static const struct json_field fields[] = {
    {.name = "text", .kind = FIELD_STRING, .minimum = 1, .maximum = 5},
    {.name = "free_text", .kind = FIELD_STRING},
    {.name = "count", .kind = FIELD_INTEGER, .minimum = -2, .maximum = 2},
    {.name = "ratio", .kind = FIELD_NUMBER, .minimum = 0, .maximum = 1},
    {.name = "flag", .kind = FIELD_BOOLEAN},
    {.name = "words", .kind = FIELD_STRING_LIST, .maximum = 2},
    {.name = "inner", .kind = FIELD_OBJECT, .fields = inner_fields},
    {.name = "open", .kind = FIELD_OBJECT},
    {.name = "list", .kind = FIELD_LIST, .maximum = 2, .fields = inner_fields},
    {.name = "env", .kind = FIELD_ENV, .maximum = 2},
    {.name = "envs", .kind = FIELD_ENV_LIST, .maximum = 2},
    {.name = "any", .kind = FIELD_ANY},
    {.name = "must", .kind = FIELD_INTEGER, .is_required = true},
    {.name = NULL},
};

/* The sentence with which json_check refuses `text`, in which ' stands for "; "": accepted. */
static const char *check(const char *text)
{
    char quoted[512];
    snprintf(quoted, sizeof quoted, "%s", text);
    for (char *at = strchr(quoted, '\''); at != NULL; at = strchr(at, '\''))
        *at = '"';
    json_t *value = json_loads(quoted, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(value);
    memset(&error, 0, sizeof error);
    enum bw_code code = json_check(value, fields, "", "context", &error);
    json_decref(value);
    assert_int_equal(code, error.message[0] == '\0' ? BW_OK : BW_BAD_REQUEST);
    return error.message;
}

static void valid_object_is_accepted(void **state)
{
    (void)state;
    assert_string_equal(check("{'must': 0}"), "");
    assert_string_equal(check("{'must': 0, 'any': null}"), "");
    assert_string_equal(
        check(
            "{'must':0,'text':'abcde','free_text':'','count':-2,'ratio':1,'flag':false,'words':['a',''],"
            "'inner':{'flag':true,'even':2},'open':{'x':[null]},'list':[{'flag':true},{'flag':false}],"
            "'env':{'A':'','_b1':'x=y'},'envs':[{},{'A':'1'}],'any':[null,{'a':1}]}"),
        "");
}

static void error_names_the_path(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "the value: must be an object, not a list"},
        {"{}", "must: is required"},
        {"{'must':'1'}", "must: must be an integer, not a string"},
        {"{'must':1.5}", "must: must be an integer"},
        {"{'must':true}", "must: must be an integer, not true"},
        {"{'must':null}", "must: must not be null"},
        {"{'must':1,'mist':1}", "unknown key 'mist'"},
        {"{'must':1,'a\\nb':1}", "unknown key 'a\\x0ab'"},
        {"{'must':1,'text':''}", "text: must not be empty"},
        {"{'must':1,'text':'abcdef'}", "text: must be at most 5 bytes long, not 6"},
        {"{'must':1,'text':'a\\u0000'}", "text: must not contain a NUL character"},
        {"{'must':1,'text':1}", "text: must be a string, not a number"},
        {"{'must':1,'count':3}", "count: must be between -2 and 2, not 3"},
        {"{'must':1,'count':2147483648}", "count: must be between -2 and 2, not 2147483648"},
        {"{'must':1,'ratio':-0.5}", "ratio: must be between 0 and 1, not -0.5"},
        {"{'must':1,'ratio':'1'}", "ratio: must be a number, not a string"},
        {"{'must':1,'flag':0}", "flag: must be true or false, not a number"},
        {"{'must':1,'words':'a'}", "words: must be a list, not a string"},
        {"{'must':1,'words':['a','b','c']}", "words: must have at most 2 items, not 3"},
        {"{'must':1,'words':['a',2]}", "words[1]: must be a string, not a number"},
        {"{'must':1,'inner':[]}", "inner: must be an object, not a list"},
        {"{'must':1,'inner':{}}", "inner.flag: is required"},
        {"{'must':1,'inner':{'flag':true,'x':1}}", "inner: unknown key 'x'"},
        {"{'must':1,'inner':{'flag':true,'even':1}}", "inner.even: must be even"},
        {"{'must':1,'open':1}", "open: must be an object, not a number"},
        {"{'must':1,'list':{}}", "list: must be a list, not an object"},
        {"{'must':1,'list':[{'flag':true},{'flag':1}]}",
         "list[1].flag: must be true or false, not a number"},
        {"{'must':1,'list':[1]}", "list[0]: must be an object, not a number"},
        {"{'must':1,'list':[null]}", "list[0]: must be an object, not null"},
        {"{'must':1,'list':[{},{},{}]}", "list: must have at most 2 items, not 3"},
        {"{'must':1,'env':[]}", "env: must be an object, not a list"},
        {"{'must':1,'env':{'A':1}}", "env.A: must be a string, not a number"},
        {"{'must':1,'env':{'A':null}}", "env.A: must be a string, not null"},
        {"{'must':1,'env':{'A':'x\\u0000y'}}", "env.A: must not contain a NUL character"},
        {"{'must':1,'env':{'A':'','B':'','C':''}}", "env: must have at most 2 names, not 3"},
        {"{'must':1,'envs':[{},{'NETID':1}]}", "envs[1].NETID: must be a string, not a number"},
        {"{'must':1,'envs':[{},1]}", "envs[1]: must be an object, not a number"},
        {"{'must':1,'envs':[null]}", "envs[0]: must be an object, not null"},
        {"{'must':1,'words':[null]}", "words[0]: must be a string, not null"},
        {"{'must':1,'envs':[{},{},{}]}", "envs: must have at most 2 items, not 3"},
        {"{'must':1,'envs':[{'1A':''}]}",
         "envs[0]: '1A' can't be the name of an environment variable: it must match [A-Za-z_][A-Za-z0-9_]*"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(check(cases[i][0]), cases[i][1]);
}

static void a_prefix_is_put_before_the_path(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:b,s:i}", "flag", 1, "even", 3);
    assert_int_equal(json_check(value, inner_fields, "logs", "context", &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "logs.even: must be even");
    json_decref(value);
}

static void names_of_environment_variables_are_checked(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'A', sizeof longest);
    longest[256] = '\0';
    static const char *const good[] = {"A", "_", "a1", "NETID", "_1"};
    static const char *const bad[] = {"",    "1",  "A-B", "a.b", "A=B",  "$A",
                                      "A B", " A", "A\n", "ü",   "A\x01"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(is_env_name(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(is_env_name(bad[i]));
    assert_false(is_env_name(longest));
    assert_true(is_env_name(longest + 1));
}

static void shown_text_stays_on_one_line_and_within_its_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *shown;
    } cases[] = {
        {"", 16, ""},
        {"plain", 16, "plain"},
        {"a\nb\x7f", 20, "a\\x0ab\\x7f"},
        {"\x1b[2J", 16, "\\x1b[2J"},
        {"aaaaaaaaaaaaaaaaaaaaaaaa", 8, "a…"},
        {"üüüüüüüüüüüüüüüüüüüüüüüü", 12, "üüü…"},
        {"\n\n\n\n\n\n\n", 16, "\\x0a\\x0a…"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char shown[20];
        memset(shown, '#', sizeof shown);
        text_show(cases[i].text, shown, cases[i].size);
        assert_string_equal(shown, cases[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_json_value_is_accepted),
        cmocka_unit_test(invalid_json_is_refused_with_its_position_but_not_its_text),
        cmocka_unit_test(a_duplicate_key_is_named_at_every_level),
        cmocka_unit_test(a_long_duplicate_key_is_cut),
        cmocka_unit_test(nul_and_invalid_utf8_are_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(nesting_is_bounded_before_the_parser_runs),
        cmocka_unit_test(brackets_in_strings_do_not_count_as_nesting),
        cmocka_unit_test(valid_object_is_accepted),
        cmocka_unit_test(error_names_the_path),
        cmocka_unit_test(a_prefix_is_put_before_the_path),
        cmocka_unit_test(names_of_environment_variables_are_checked),
        cmocka_unit_test(shown_text_stays_on_one_line_and_within_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
