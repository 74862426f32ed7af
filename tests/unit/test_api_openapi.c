#include "api/openapi/openapi_document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>

#include "api/openapi/argument_notes.h"
#include "api/openapi/operations.h"
#include "api/openapi/schemas.h"
#include "api/protocols.h"

/* ---- The tables ---- */

static unsigned count_routes(const char *method, const char *path)
{
    unsigned found = 0;
    for (unsigned i = 0; protocols[i] != NULL; i++)
        for (const struct route *route = protocols[i]->routes; route->method != NULL; route++)
            found += strcmp(route->method, method) == 0 && strcmp(route->path, path) == 0;
    return found;
}

static void each_route_has_a_row(void **state)
{
    (void)state;
    for (unsigned i = 0; protocols[i] != NULL; i++)
        for (const struct route *route = protocols[i]->routes; route->method != NULL; route++)
            if (operation_find(route->method, route->path) == NULL)
                fail_msg("%s %s: add a row to api/openapi/operations.c", route->method,
                         route->path);
}

static void each_row_has_one_route(void **state)
{
    (void)state;
    for (const struct operation *row = operations; row->method != NULL; row++) {
        if (count_routes(row->method, row->path) != 1)
            fail_msg("%s %s in api/openapi/operations.c: there is no such route", row->method,
                     row->path);
        assert_ptr_equal(operation_find(row->method, row->path), row);
        assert_true(row->summary[0] != '\0');
    }
}

static void each_argument_has_a_note(void **state)
{
    (void)state;
    for (unsigned i = 0; protocols[i] != NULL; i++)
        for (const struct route *route = protocols[i]->routes; route->method != NULL; route++) {
            const struct operation *row = operation_find(route->method, route->path);
            const struct json_field *field = row->body == NULL ? route->fields : NULL;
            for (; field != NULL && field->name != NULL; field++)
                if (argument_note_find(field, route->path) == NULL)
                    fail_msg("%s of %s %s: add a row to api/openapi/argument_notes.c", field->name,
                             route->method, route->path);
        }
}

static void each_note_is_of_an_argument(void **state)
{
    (void)state;
    for (const struct argument_note *note = argument_notes; note->name != NULL; note++) {
        unsigned found = 0;
        for (unsigned i = 0; protocols[i] != NULL; i++)
            for (const struct route *route = protocols[i]->routes; route->method != NULL; route++) {
                const struct json_field *field = route->fields;
                for (; field != NULL && field->name != NULL; field++)
                    found += argument_note_find(field, route->path) == note;
            }
        if (found == 0)
            fail_msg("%s in api/openapi/argument_notes.c: no route has it", note->name);
    }
}

/* ---- The document ---- */

static json_t *document_new(void)
{
    char *text = openapi_document_text();
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    assert_non_null(document);
    return document;
}

/* The value that a reference leads to, or NULL. */
static json_t *follow(json_t *document, const char *reference)
{
    char text[256];
    char *rest = NULL;
    snprintf(text, sizeof text, "%s", reference + strlen("#/"));
    for (char *key = strtok_r(text, "/", &rest); key != NULL; key = strtok_r(NULL, "/", &rest))
        document = json_object_get(document, key);
    return document;
}

static void check_references(json_t *document, json_t *value)
{
    const char *key;
    json_t *item;
    size_t index;
    json_array_foreach (value, index, item)
        check_references(document, item);
    json_object_foreach (value, key, item) {
        if (strcmp(key, "$ref") != 0)
            check_references(document, item);
        else if (follow(document, json_string_value(item)) == NULL)
            fail_msg("%s leads nowhere", json_string_value(item));
    }
}

static void each_reference_leads_to_something(void **state)
{
    (void)state;
    json_t *document = document_new();
    check_references(document, document);
    json_decref(document);
}

static json_t *operation_at(json_t *document, const char *path, const char *method)
{
    return json_object_get(json_object_get(json_object_get(document, "paths"), path), method);
}

static void an_operation_of_both_protocols_has_the_answers_of_both(void **state)
{
    (void)state;
    json_t *document = document_new();
    json_t *operation = operation_at(document, "/api/v1/grading_job/{id}", "post");
    assert_null(operation_at(document, "/api/v1/grading_job/{worker}", "post"));
    const json_t *responses = json_object_get(operation, "responses");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(responses, "400"), "$ref")),
        "#/components/responses/either_400");
    const json_t *content = json_object_get(json_object_get(responses, "200"), "content");
    const json_t *schema = json_object_get(json_object_get(content, "application/json"), "schema");
    assert_int_equal(json_array_size(json_object_get(schema, "anyOf")), 2);
    assert_int_equal(json_array_size(json_object_get(operation, "security")), 2);
    json_decref(document);
}

static void refusals_follow_from_who_may_use_a_route(void **state)
{
    (void)state;
    json_t *document = document_new();
    const json_t *open = json_object_get(operation_at(document, "/api/v1/receipts/key", "get"),
                                         "responses");
    assert_null(json_object_get(open, "401"));
    assert_null(json_object_get(open, "404"));
    assert_non_null(json_object_get(open, "503"));
    const json_t *cancel = json_object_get(
        operation_at(document, "/api/v1/grading_run/{id}/cancel", "post"), "responses");
    assert_non_null(json_object_get(cancel, "401"));
    assert_non_null(json_object_get(cancel, "403"));
    assert_non_null(json_object_get(cancel, "409"));
    json_decref(document);
}

static void operation_ids_are_different(void **state)
{
    (void)state;
    json_t *document = document_new(), *ids = json_object();
    const char *path, *method;
    json_t *item, *operation;
    json_object_foreach (json_object_get(document, "paths"), path, item) {
        json_object_foreach (item, method, operation) {
            const char *id = json_string_value(json_object_get(operation, "operationId"));
            if (json_object_get(ids, id) != NULL)
                fail_msg("%s %s has the id of another operation: %s", method, path, id);
            json_object_set_new(ids, id, json_true());
        }
    }
    json_decref(ids);
    json_decref(document);
}

/* ---- The schemas of fields ---- */

static void a_field_becomes_the_schema_of_what_its_check_accepts(void **state)
{
    (void)state;
    static const struct json_field fields[] = {
        {.name = "text", .kind = FIELD_STRING, .is_required = true, .minimum = 1, .maximum = 9},
        {.name = "number", .kind = FIELD_INTEGER, .minimum = -3, .maximum = 5},
        {.name = "list", .kind = FIELD_STRING_LIST, .maximum = 2},
        {.name = NULL},
    };
    json_t *schema = schema_of_fields(fields, "");
    json_t *expected = json_pack(
        "{s:s,s:{s:{s:s,s:i,s:i},s:{s:s,s:i,s:i},s:{s:s,s:{s:s},s:i}},s:[s],s:b}", "type", "object",
        "properties", "text", "type", "string", "minLength", 1, "maxLength", 9, "number", "type",
        "integer", "minimum", -3, "maximum", 5, "list", "type", "array", "items", "type", "string",
        "maxItems", 2, "required", "text", "additionalProperties", 0);
    assert_true(json_equal(schema, expected));
    json_decref(schema);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_has_a_row),
        cmocka_unit_test(each_row_has_one_route),
        cmocka_unit_test(each_argument_has_a_note),
        cmocka_unit_test(each_note_is_of_an_argument),
        cmocka_unit_test(each_reference_leads_to_something),
        cmocka_unit_test(an_operation_of_both_protocols_has_the_answers_of_both),
        cmocka_unit_test(refusals_follow_from_who_may_use_a_route),
        cmocka_unit_test(operation_ids_are_different),
        cmocka_unit_test(a_field_becomes_the_schema_of_what_its_check_accepts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
