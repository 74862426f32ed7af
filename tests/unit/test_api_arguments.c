#include "api/http/arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/exchange.h"
static const struct json_field fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING},
    {.name = "wait", .kind = FIELD_NUMBER, .minimum = 0, .maximum = 60},
    {.name = "offset", .kind = FIELD_INTEGER, .minimum = -5, .maximum = 100},
    {.name = "results", .kind = FIELD_BOOLEAN},
    {.name = "result", .kind = FIELD_ANY},
    {.name = "list", .kind = FIELD_STRING_LIST},
    {.name = NULL},
};
static const struct json_field wanted_fields[] = {
    {.name = "token", .kind = FIELD_STRING, .is_required = true}, {.name = NULL}};
static const struct json_field document_fields[] = {
    {.name = "document", .kind = FIELD_ANY, .is_required = true}, {.name = NULL}};

static const struct route query_route = {.body = BODY_NONE, .fields = fields};
static const struct route route = {.body = BODY_ARGUMENTS, .fields = fields};
static const struct route wanting_route = {.body = BODY_ARGUMENTS, .fields = wanted_fields};
static const struct route json_route = {.body = BODY_JSON, .fields = fields};
static const struct route wanting_json_route = {.body = BODY_JSON, .fields = wanted_fields};
static const struct route bare_route = {.body = BODY_NONE};
static const struct route document_route = {.body = BODY_DOCUMENT, .fields = document_fields};

/* The arguments as JSON text, or the sentence of the refusal. */
static const char *read_bytes(const struct route *of, const char *query, const char *type,
                              const char *body, size_t length)
{
    static char shown[4096];
    struct bw_error error = {"no sentence"};
    struct arguments_source source = {
        .query = query, .content_type = type, .body = body, .body_length = length};
    json_t *arguments = NULL;
    enum bw_code code = arguments_read(of, &source, &arguments, &error);
    assert_true(code == BW_OK || code == (of->body == BODY_JSON ? BW_BAD_BODY : BW_BAD_REQUEST));
    char *text = code == BW_OK ? json_dumps(arguments, JSON_COMPACT) : strdup(error.message);
    snprintf(shown, sizeof shown, "%s", text);
    free(text);
    json_decref(arguments);
    return shown;
}

static const char *read_text(const struct route *of, const char *query, const char *type,
                             const char *body)
{
    return read_bytes(of, query, type, body, strlen(body));
}

struct row {
    const char *query, *result;
};

static void queries_are_decoded_and_typed(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "{}"},
        {"&&", "{}"},
        {"worker_id=a+b%21%C3%BC", "{\"worker_id\":\"a b!ü\"}"},
        {"worker_id", "{\"worker_id\":\"\"}"},
        {"worker_id==a=", "{\"worker_id\":\"=a=\"}"},
        {"wait=2.5&offset=-3", "{\"wait\":2.5,\"offset\":-3}"},
        {"wait=0", "{\"wait\":0.0}"},
        {"results=true", "{\"results\":true}"},
        {"result=7", "{\"result\":\"7\"}"},
        {"list=[\"a\"]", "{\"list\":[\"a\"]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(read_text(&query_route, rows[i].query, NULL, ""), rows[i].result);
}

static void query_error_names_the_argument(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"wroker_id=a", "unknown argument 'wroker_id'"},
        {"=", "unknown argument ''"},
        {"a%0Ab=1", "unknown argument 'a\\x0ab'"},
        {"worker_id=a&worker_id=a", "argument 'worker_id' is given twice"},
        {"worker_id=%", "the query contains a % that is not followed by two hex digits"},
        {"worker_id=%4", "the query contains a % that is not followed by two hex digits"},
        {"worker_id=%g1", "the query contains a % that is not followed by two hex digits"},
        {"worker_id=a%00b", "the query contains a NUL character"},
        {"%00=1", "the query contains a NUL character"},
        {"worker_id=%FF", "argument 'worker_id' is not UTF-8"},
        {"wait=abc", "argument 'wait': 'abc' is not a decimal number"},
        {"wait=", "argument 'wait': '' is not a decimal number"},
        {"wait=1e3", "argument 'wait': '1e3' is not a decimal number"},
        {"wait=0x1", "argument 'wait': '0x1' is not a decimal number"},
        {"wait=.5", "argument 'wait': '.5' is not a decimal number"},
        {"wait=nan", "argument 'wait': 'nan' is not a decimal number"},
        {"wait=+1", "argument 'wait': ' 1' is not a decimal number"},
        {"wait=61", "wait: must be between 0 and 60, not 61"},
        {"offset=1.0", "argument 'offset': '1.0' is not an integer"},
        {"offset=99999999999999999999",
         "argument 'offset': '99999999999999999999' is not an integer"},
        {"results=1", "argument 'results': '1' is not true or false"},
        {"list=a", "argument 'list' is not valid JSON: line 1, column 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(read_text(&query_route, rows[i].query, NULL, ""), rows[i].result);
    assert_string_equal(read_text(&wanting_route, "", NULL, ""), "argument 'token' is missing");
    assert_string_equal(read_text(&bare_route, "a=1", NULL, ""), "unknown argument 'a'");
}

static void no_body_is_an_empty_object_if_nothing_is_required(void **state)
{
    (void)state;
    assert_string_equal(read_text(&json_route, "", NULL, ""), "{}");
    assert_string_equal(read_text(&json_route, "", "application/json", "{\"offset\":1}"),
                        "{\"offset\":1}");
    assert_string_equal(read_text(&json_route, "", NULL, " "),
                        "the body is not valid JSON: line 1, column 1");
    assert_string_equal(read_text(&wanting_json_route, "", NULL, ""),
                        "the body is not valid JSON: line 1, column 0");
}

static void more_than_sixteen_arguments_are_refused(void **state)
{
    (void)state;
    static struct json_field many[ARGUMENT_MAX + 2];
    static char names[ARGUMENT_MAX + 1][8];
    struct route of = {.body = BODY_NONE, .fields = many};
    char query[256] = "";
    for (int i = 0; i <= ARGUMENT_MAX; i++) {
        snprintf(names[i], sizeof names[i], "a%d", i);
        many[i] = (struct json_field){.name = names[i], .kind = FIELD_STRING};
        snprintf(query + strlen(query), sizeof query - strlen(query), "a%d=x&", i);
    }
    assert_string_equal(read_text(&of, query, NULL, ""), "there are more than 16 arguments");
    query[strlen(query) - strlen("a16=x&")] = '\0';
    assert_memory_equal(read_text(&of, query, NULL, ""), "{\"a0\"", 5);
}

static void first_character_of_a_body_decides_its_format(void **state)
{
    (void)state;
    static const char *const types[] = {NULL, "application/x-www-form-urlencoded",
                                        "application/json; charset=UTF-8", "text/plain",
                                        "multipart/form-data; boundary=x"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        assert_string_equal(
            read_text(&route, "", types[i], " \r\n{\"result\":{\"a\":[1]},\"wait\":3}"),
            "{\"result\":{\"a\":[1]},\"wait\":3}");
        assert_string_equal(read_text(&route, "worker_id=w", types[i], ""),
                            "{\"worker_id\":\"w\"}");
    }
    assert_string_equal(read_text(&route, "", NULL, "worker_id=a+b&result=%7B%7D"),
                        "{\"worker_id\":\"a b\",\"result\":\"{}\"}");
    assert_string_equal(read_text(&query_route, "wait=1", NULL, "anything % at all"),
                        "{\"wait\":1.0}");
}

static void a_json_body_is_checked_like_a_form(void **state)
{
    (void)state;
    assert_string_equal(read_text(&route, "", NULL, "{\"x\":1}"), "unknown argument 'x'");
    assert_string_equal(read_text(&route, "", NULL, "{\"wait\":\"3\"}"),
                        "wait: must be a number, not a string");
    assert_string_equal(read_text(&route, "", NULL, "{\"wait\":null}"), "wait: must not be null");
    assert_string_equal(read_text(&route, "", NULL, "{\"wait\":1,"),
                        "the body is not valid JSON: line 1, column 10");
    assert_non_null(strstr(read_text(&route, "", NULL, "{\"wait\":1,\"wait\":1}"), "twice"));
    assert_string_equal(read_text(&route, "", "application/json", "[1]"),
                        "the body must be a JSON object, not a list");
    assert_string_equal(read_bytes(&route, "", NULL, "worker_id=a\0b", 13),
                        "the body contains a NUL character");
}

static void same_value_in_query_and_body_is_accepted(void **state)
{
    (void)state;
    assert_string_equal(read_text(&route, "worker_id=w", NULL, "{\"worker_id\":\"w\"}"),
                        "{\"worker_id\":\"w\"}");
    assert_string_equal(read_text(&route, "worker_id=w", NULL, "worker_id=w"),
                        "{\"worker_id\":\"w\"}");
    assert_string_equal(read_text(&route, "worker_id=w", NULL, "worker_id=v"),
                        "argument 'worker_id' is given twice");
    assert_string_equal(read_text(&route, "", NULL, "worker_id=w&worker_id=w"),
                        "argument 'worker_id' is given twice");
}

static void multipart_forms_are_read(void **state)
{
    (void)state;
    static const char type[] = "multipart/form-data; boundary=\"b-1\"";
    static const char whole[] =
        "--b-1\r\nContent-Disposition: form-data; name=\"worker_id\"\r\n\r\nw\r\n"
        "--b-1\r\ncontent-type: text/plain\r\nContent-Disposition: form-data; name=result; filename=\"n;a\"\r\n\r\n"
        "line 1\r\nline 2--b-1\r\n--b-1--\r\n";
    assert_string_equal(read_text(&route, "", type, whole),
                        "{\"worker_id\":\"w\",\"result\":\"line 1\\r\\nline 2--b-1\"}");
    assert_string_equal(read_text(&route, "", "Multipart/Form-Data;boundary=b-1", whole),
                        "{\"worker_id\":\"w\",\"result\":\"line 1\\r\\nline 2--b-1\"}");
    assert_string_equal(
        read_text(
            &route, "", type,
            "preamble\r\n--b-1\r\nContent-Disposition: form-data; name=\"worker_id\"\r\n\r\n\r\n--b-1--"),
        "{\"worker_id\":\"\"}");
    assert_string_equal(read_text(&route, "", type, "--b-1--"), "{}");
    for (size_t length = 1; length < sizeof whole - 5; length++) {
        const char *result = read_bytes(&route, "", type, whole, length);
        if (strcmp(result, "the multipart form is incomplete") != 0)
            fail_msg("%zu bytes: %s", length, result);
    }
    assert_string_equal(read_text(&route, "", "multipart/form-data", whole),
                        "the content type multipart/form-data names no boundary");
    assert_string_equal(read_text(&route, "", type, "--b-1\r\nX: y\r\n\r\nw\r\n--b-1--"),
                        "the multipart form is incomplete");
    static const char with_nul[] =
        "--b-1\r\nContent-Disposition: form-data; name=result\r\n\r\n\0\r\n--b-1--";
    assert_string_equal(read_bytes(&route, "", type, with_nul, sizeof with_nul - 1),
                        "the form contains a NUL character");
}

static void document_is_read_from_an_argument_or_from_the_body(void **state)
{
    (void)state;
    static const char result[] = "{\"document\":{\"a\":1}}";
    assert_string_equal(read_text(&document_route, "", NULL, "json_payload=%7B%22a%22:1%7D"),
                        result);
    assert_string_equal(read_text(&document_route, "json_payload={\"a\":1}", NULL, ""), result);
    assert_string_equal(read_text(&document_route, "", "application/json", "{\"a\":1}"), result);
    assert_string_equal(
        read_text(&document_route, "", "application/x-www-form-urlencoded", "\n{\"a\":1}"), result);
    assert_string_equal(
        read_text(
            &document_route, "", "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"json_payload\"\r\n\r\n{\"a\":1}\r\n--b--\r\n"),
        result);
    assert_string_equal(read_text(&document_route, "", NULL, ""),
                        "argument 'json_payload' is missing");
    assert_string_equal(read_text(&document_route, "", NULL, "json_payload=[1]"),
                        "json_payload must be a JSON object, not a list");
    assert_string_equal(read_text(&document_route, "", NULL, "json_payload={"),
                        "json_payload is not valid JSON: line 1, column 1");
    assert_string_equal(read_text(&document_route, "", NULL, "document={}"),
                        "unknown argument 'document'");
    assert_non_null(
        strstr(read_text(&document_route, "json_payload={}", NULL, "{}"), "given twice"));
    assert_string_equal(read_text(&document_route, "x=1", NULL, "{}"), "unknown argument 'x'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_are_decoded_and_typed),
        cmocka_unit_test(query_error_names_the_argument),
        cmocka_unit_test(no_body_is_an_empty_object_if_nothing_is_required),
        cmocka_unit_test(more_than_sixteen_arguments_are_refused),
        cmocka_unit_test(first_character_of_a_body_decides_its_format),
        cmocka_unit_test(a_json_body_is_checked_like_a_form),
        cmocka_unit_test(same_value_in_query_and_body_is_accepted),
        cmocka_unit_test(multipart_forms_are_read),
        cmocka_unit_test(document_is_read_from_an_argument_or_from_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
