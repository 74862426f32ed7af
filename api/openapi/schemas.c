#include "api/openapi/schemas.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/openapi/argument_notes.h"
#include "api/openapi/embedded.h"

enum { REFERENCE_SIZE = 160 };

static const char file_ending[] = ".json";

/* ---- The schemas of docs/schemas ---- */

/* The length of a file's name without its ending. */
static size_t stem_length(const char *file)
{
    const char *ending = strstr(file, file_ending);
    return ending != NULL ? (size_t)(ending - file) : strlen(file);
}

/* Rewrites a reference in `file`: each file has its place among the document's components. */
static json_t *reference_within(const char *file, const char *to)
{
    char text[REFERENCE_SIZE];
    const char *fragment = strchr(to, '#');
    const char *target = fragment == to ? file : to;
    snprintf(text, sizeof text, "#/components/schemas/%.*s%s", (int)stem_length(target), target,
             fragment != NULL ? fragment + 1 : "");
    return json_string(text);
}

/* Rewrites all references below `value`. */
static void rewrite_references(json_t *value, const char *file)
{
    const char *key;
    json_t *item;
    size_t index;
    json_array_foreach (value, index, item)
        rewrite_references(item, file);
    json_object_foreach (value, key, item) {
        if (strcmp(key, "$ref") == 0 && json_is_string(item))
            json_object_set_new(value, key, reference_within(file, json_string_value(item)));
        else
            rewrite_references(item, file);
    }
}

json_t *schemas_components(void)
{
    char name[REFERENCE_SIZE];
    json_t *components = json_object();
    for (const struct embedded *file = embedded_schemas; file->name != NULL; file++) {
        json_t *schema = json_loadb(file->begin, (size_t)(file->end - file->begin),
                                    JSON_REJECT_DUPLICATES, NULL);
        assert(schema != NULL);
        json_object_del(schema, "$schema");
        json_object_del(schema, "$id");
        rewrite_references(schema, file->name);
        snprintf(name, sizeof name, "%.*s", (int)stem_length(file->name), file->name);
        json_object_set_new(components, name, schema);
    }
    return components;
}

json_t *schema_reference(const char *to)
{
    return json_pack("{s:o}", "$ref", reference_within("", to));
}

/* ---- The schemas of fields ---- */

static bool has_limits(const struct json_field *field)
{
    return field->minimum < 0 || field->minimum > 0 || field->maximum < 0 || field->maximum > 0;
}

static json_t *typed(const char *type)
{
    return json_pack("{s:s}", "type", type);
}

static void set_whole(json_t *schema, const char *key, double number)
{
    json_object_set_new(schema, key, json_integer((json_int_t)number));
}

static json_t *schema_of_string(const struct json_field *field)
{
    json_t *schema = typed("string");
    if (field->minimum > 0)
        set_whole(schema, "minLength", field->minimum);
    if (field->maximum > 0)
        set_whole(schema, "maxLength", field->maximum);
    return schema;
}

static json_t *schema_of_number(const struct json_field *field)
{
    json_t *schema = typed(field->kind == FIELD_INTEGER ? "integer" : "number");
    if (!has_limits(field))
        return schema;
    set_whole(schema, "minimum", field->minimum);
    set_whole(schema, "maximum", field->maximum);
    return schema;
}

static json_t *schema_of_list(const struct json_field *field, json_t *items)
{
    json_t *schema = json_pack("{s:s,s:o}", "type", "array", "items", items);
    if (field->maximum > 0)
        set_whole(schema, "maxItems", field->maximum);
    return schema;
}

static json_t *schema_of_env(void)
{
    return json_pack("{s:s,s:{s:s}}", "type", "object", "additionalProperties", "type", "string");
}

static json_t *schema_of_kind(const struct json_field *field, const char *path)
{
    switch (field->kind) {
    case FIELD_STRING:
        return schema_of_string(field);
    case FIELD_INTEGER:
    case FIELD_NUMBER:
        return schema_of_number(field);
    case FIELD_BOOLEAN:
        return typed("boolean");
    case FIELD_STRING_LIST:
        return schema_of_list(field, typed("string"));
    case FIELD_OBJECT:
        return field->fields != NULL ? schema_of_fields(field->fields, path) : typed("object");
    case FIELD_LIST:
        return schema_of_list(field, schema_of_fields(field->fields, path));
    case FIELD_ENV:
        return schema_of_env();
    case FIELD_ENV_LIST:
        return schema_of_list(field, schema_of_env());
    case FIELD_ANY:
        break;
    }
    return json_object();
}

static void add_words(json_t *schema, const char *const *words)
{
    json_t *list = json_array();
    for (; *words != NULL; words++)
        json_array_append_new(list, json_string(*words));
    if (json_array_size(list) > 0)
        json_object_set(schema, "enum", list);
    json_decref(list);
}

json_t *schema_of_field(const struct json_field *field, const char *path)
{
    json_t *schema = schema_of_kind(field, path);
    const struct argument_note *note = argument_note_find(field, path);
    if (note == NULL)
        return schema;
    json_object_set_new(schema, "description", json_string(note->description));
    if (note->pattern != NULL)
        json_object_set_new(schema, "pattern", json_string(note->pattern));
    add_words(schema, note->words);
    return schema;
}

json_t *schema_of_fields(const struct json_field *fields, const char *path)
{
    json_t *properties = json_object(), *required = json_array();
    for (; fields != NULL && fields->name != NULL; fields++) {
        json_object_set_new(properties, fields->name, schema_of_field(fields, path));
        if (fields->is_required)
            json_array_append_new(required, json_string(fields->name));
    }
    return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", properties, "required",
                     required, "additionalProperties", 0);
}
