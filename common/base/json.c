#include "common/base/json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/date.h"
#include "common/base/json_scan.h"

enum { PATH_SIZE = 320, SHOWN_SIZE = 80, ENV_NAME_MAX = 255 };

const char *json_kind_of(const json_t *value)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return kinds[json_typeof(value)];
}

enum bw_code json_check_list(const json_t *value, const char *path, struct bw_error *error)
{
    if (json_is_array(value))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list, not %s", path, json_kind_of(value));
}

const char *text_show(const char *text, char *shown, size_t size)
{
    static const char ellipsis[] = "…";
    size_t length = 0, room = size - sizeof ellipsis;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool is_control = *at < 0x20 || *at == 0x7F;
        bool is_start = (*at & 0xC0) != 0x80;
        size_t needed = is_control ? 4 : 1;
        if (length + (is_start ? needed + 3 : needed) > room) {
            memcpy(shown + length, ellipsis, sizeof ellipsis);
            return shown;
        }
        if (is_control)
            length += (size_t)snprintf(shown + length, size - length, "\\x%02x", *at);
        else
            shown[length++] = (char)*at;
    }
    shown[length] = '\0';
    return shown;
}

/* Jansson parses recursively, and allocates many times the text's length: both are limited before
 * it starts. */
static enum bw_code check_cost(const char *text, size_t length, const char *what,
                               const struct json_limits *limits, struct bw_error *error)
{
    struct json_scan scan = {.count = 0};
    json_scan_feed(&scan, text, length);
    if (scan.deepest > JSON_MAX_DEPTH)
        return bw_fail(error, BW_BAD_REQUEST, "%s is nested more than %d levels deep", what,
                       JSON_MAX_DEPTH);
    if (limits == NULL)
        return BW_OK;
    if (scan.count > limits->count)
        return bw_fail(error, BW_TOO_LARGE, "%s has %zu keys and values, the limit is %zu", what,
                       scan.count, limits->count);
    return limits->take != NULL ? limits->take(limits->context, scan.memory, error) : BW_OK;
}

/* The key whose closing quote is the byte before `end`, as it is written (escapes stay), fit for a
 * sentence. The position comes from jansson; "?" if there is no key. */
static const char *key_before(const char *text, size_t length, int end, char *shown, size_t size)
{
    char key[SHOWN_SIZE * 2];
    if (end < 2 || (size_t)end > length || text[end - 1] != '"')
        return "?";
    size_t stop = (size_t)end - 1, start = stop;
    while (start > 0 && (text[start - 1] != '"' || (start > 1 && text[start - 2] == '\\')))
        start--;
    size_t shown_length = stop - start < sizeof key ? stop - start : sizeof key - 1;
    snprintf(key, sizeof key, "%.*s", (int)shown_length, text + start);
    return text_show(key, shown, size);
}

static enum bw_code refuse_text(const char *text, size_t length, const json_error_t *reason,
                                const char *what, struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    switch (json_error_code(reason)) {
    case json_error_duplicate_key:
        return bw_fail(
            error, BW_BAD_REQUEST,
            "%s has the key '%s' twice in one object, the second time at line %d, column %d", what,
            key_before(text, length, reason->position, shown, sizeof shown), reason->line,
            reason->column);
    case json_error_invalid_utf8:
        return bw_fail(error, BW_BAD_REQUEST, "%s is not UTF-8", what);
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return bw_fail(error, BW_BAD_REQUEST, "%s contains a NUL character, at line %d, column %d",
                       what, reason->line, reason->column);
    case json_error_numeric_overflow:
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s contains a number that is too large, at line %d, column %d", what,
                       reason->line, reason->column);
    default:
        return bw_fail(error, BW_BAD_REQUEST, "%s is not valid JSON: line %d, column %d", what,
                       reason->line, reason->column);
    }
}

enum bw_code json_parse_within(const char *text, size_t length, const char *what,
                               const struct json_limits *limits, json_t **value,
                               struct bw_error *error)
{
    enum bw_code code = check_cost(text, length, what, limits, error);
    if (code != BW_OK)
        return code;
    json_error_t reason;
    json_t *parsed = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &reason);
    if (parsed == NULL)
        return refuse_text(text, length, &reason, what, error);
    *value = parsed;
    return BW_OK;
}

enum bw_code json_parse(const char *text, size_t length, const char *what, json_t **value,
                        struct bw_error *error)
{
    return json_parse_within(text, length, what, NULL, value, error);
}

bool is_env_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char characters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    size_t length = strlen(name);
    return length > 0 && length <= ENV_NAME_MAX && strspn(name, letters) > 0 &&
           strspn(name, characters) == length;
}

enum bw_code env_check_entry(const char *path, const char *name, size_t value_length,
                             struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    size_t bytes = strlen(name) + sizeof "=" + value_length; /* the NUL counts */
    if (bytes <= EXEC_STRING_MAX)
        return BW_OK;
    return bw_fail(
        error, BW_BAD_REQUEST,
        "%s: %s=... takes %zu bytes with the NUL at its end, and Linux starts no program "
        "with more than %d in one entry of its environment",
        path, text_show(name, shown, sizeof shown), bytes, (int)EXEC_STRING_MAX);
}

static enum bw_code refuse_kind(const json_t *value, const char *path, const char *wanted,
                                struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be %s, not %s", path, wanted,
                   json_kind_of(value));
}

/* The path of a member. */
static const char *member_path(const char *path, const char *name, char joined[PATH_SIZE])
{
    char shown[SHOWN_SIZE];
    snprintf(joined, PATH_SIZE, "%s%s%s", path, path[0] != '\0' ? "." : "",
             text_show(name, shown, sizeof shown));
    return joined;
}

static const char *item_path(const char *path, size_t index, char joined[PATH_SIZE])
{
    snprintf(joined, PATH_SIZE, "%s[%zu]", path, index);
    return joined;
}

static bool has_limits(const struct json_field *field)
{
    return field->minimum < 0 || field->minimum > 0 || field->maximum < 0 || field->maximum > 0;
}

static enum bw_code check_string(const json_t *value, const struct json_field *field,
                                 const char *path, struct bw_error *error)
{
    if (!json_is_string(value))
        return refuse_kind(value, path, "a string", error);
    size_t length = json_string_length(value);
    if (strlen(json_string_value(value)) != length)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain a NUL character", path);
    if (!has_limits(field))
        return BW_OK;
    if ((double)length < field->minimum)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not be empty", path);
    if ((double)length > field->maximum)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be at most %.0f bytes long, not %zu", path,
                       field->maximum, length);
    return BW_OK;
}

static enum bw_code check_number(const json_t *value, const struct json_field *field,
                                 const char *path, struct bw_error *error)
{
    bool wants_integer = field->kind == FIELD_INTEGER;
    if (wants_integer ? !json_is_integer(value) : !json_is_number(value))
        return json_is_real(value)
                   ? bw_fail(error, BW_BAD_REQUEST, "%s: must be an integer", path)
                   : refuse_kind(value, path, wants_integer ? "an integer" : "a number", error);
    double number = json_number_value(value);
    if (!isfinite(number) ||
        (has_limits(field) && (number < field->minimum || number > field->maximum)))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be between %.15g and %.15g, not %.15g",
                       path, field->minimum, field->maximum, number);
    return BW_OK;
}

static enum bw_code check_boolean(const json_t *value, const struct json_field *field,
                                  const char *path, struct bw_error *error)
{
    (void)field;
    return json_is_boolean(value) ? BW_OK : refuse_kind(value, path, "true or false", error);
}

/* A list within its limit of items. */
static enum bw_code check_list(const json_t *value, const struct json_field *field,
                               const char *path, struct bw_error *error)
{
    if (!json_is_array(value))
        return refuse_kind(value, path, "a list", error);
    if (field->maximum > 0 && (double)json_array_size(value) > field->maximum)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %.0f items, not %zu", path,
                       field->maximum, json_array_size(value));
    return BW_OK;
}

static enum bw_code check_object(const json_t *value, const struct json_field *field,
                                 const char *path, struct bw_error *error)
{
    (void)field;
    return json_is_object(value) ? BW_OK : refuse_kind(value, path, "an object", error);
}

static enum bw_code check_string_list(const json_t *value, const struct json_field *field,
                                      const char *path, struct bw_error *error)
{
    static const struct json_field any_string = {.name = "", .kind = FIELD_STRING};
    size_t index;
    json_t *item;
    enum bw_code code = check_list(value, field, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, item) {
        char at[PATH_SIZE];
        code = check_string(item, &any_string, item_path(path, index, at), error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static enum bw_code json_check_env(const json_t *value, const struct json_field *field,
                                   const char *path, struct bw_error *error)
{
    static const struct json_field any_value = {.name = "", .kind = FIELD_STRING};
    const char *name;
    json_t *item;
    if (!json_is_object(value))
        return refuse_kind(value, path, "an object", error);
    if (field->maximum > 0 && (double)json_object_size(value) > field->maximum)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %.0f names, not %zu", path,
                       field->maximum, json_object_size(value));
    json_object_foreach ((json_t *)(uintptr_t)value, name, item) {
        char at[PATH_SIZE], shown[SHOWN_SIZE];
        if (!is_env_name(name))
            return bw_fail(
                error, BW_BAD_REQUEST,
                "%s: '%s' can't be the name of an environment variable: it must match [A-Za-z_][A-Za-z0-9_]*",
                path, text_show(name, shown, sizeof shown));
        enum bw_code code = check_string(item, &any_value, member_path(path, name, at), error);
        if (code == BW_OK)
            code = env_check_entry(at, name, json_string_length(item), error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static enum bw_code check_env_list(const json_t *value, const struct json_field *field,
                                   const char *path, struct bw_error *error)
{
    static const struct json_field any_env = {.name = "", .kind = FIELD_ENV, .maximum = 1000};
    size_t index;
    json_t *item;
    enum bw_code code = check_list(value, field, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, item) {
        char at[PATH_SIZE];
        code = json_check_env(item, &any_env, item_path(path, index, at), error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

static enum bw_code check_value(const json_t *value, const struct json_field *field,
                                const char *path, const void *context, struct bw_error *error)
{
    typedef enum bw_code checker(const json_t *, const struct json_field *, const char *,
                                 struct bw_error *);
    static checker *const checkers[] = {
        [FIELD_STRING] = check_string,
        [FIELD_INTEGER] = check_number,
        [FIELD_NUMBER] = check_number,
        [FIELD_BOOLEAN] = check_boolean,
        [FIELD_LIST] = check_list,
        [FIELD_ENV] = json_check_env,
        [FIELD_STRING_LIST] = check_string_list,
        [FIELD_ENV_LIST] = check_env_list,
        [FIELD_OBJECT] = check_object,
    };
    if (json_is_null(value) && field->kind != FIELD_ANY)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not be null", path);
    if (field->kind < sizeof checkers / sizeof *checkers && checkers[field->kind] != NULL) {
        enum bw_code code = checkers[field->kind](value, field, path, error);
        if (code != BW_OK)
            return code;
    }
    if (field->kind == FIELD_OBJECT && field->fields != NULL)
        return json_check(value, field->fields, path, context, error);
    size_t index;
    json_t *item;
    if (field->kind == FIELD_LIST)
        json_array_foreach (value, index, item) {
            char at[PATH_SIZE];
            enum bw_code code = json_check(item, field->fields, item_path(path, index, at), context,
                                           error);
            if (code != BW_OK)
                return code;
        }
    return field->check != NULL ? field->check(value, path, context, error) : BW_OK;
}

static const struct json_field *json_find_field(const struct json_field *fields, const char *name)
{
    for (; fields->name != NULL; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

/* Every key is known. */
static enum bw_code check_keys(const json_t *object, const struct json_field *fields,
                               const char *path, struct bw_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)object, name, value) {
        char shown[SHOWN_SIZE];
        if (json_find_field(fields, name) == NULL)
            return bw_fail(error, BW_BAD_REQUEST, "%s%sunknown key '%s'", path,
                           path[0] != '\0' ? ": " : "", text_show(name, shown, sizeof shown));
    }
    return BW_OK;
}

enum bw_code json_check(const json_t *value, const struct json_field *fields, const char *path,
                        const void *context, struct bw_error *error)
{
    if (!json_is_object(value))
        return refuse_kind(value, path[0] != '\0' ? path : "the value", "an object", error);
    enum bw_code code = check_keys(value, fields, path, error);
    for (; code == BW_OK && fields->name != NULL; fields++) {
        char at[PATH_SIZE];
        const json_t *member = json_object_get(value, fields->name);
        member_path(path, fields->name, at);
        if (member != NULL)
            code = check_value(member, fields, at, context, error);
        else if (fields->is_required)
            code = bw_fail(error, BW_BAD_REQUEST, "%s: is required", at);
    }
    return code;
}

enum bw_code json_check_date(const json_t *value, const char *path, const void *context,
                             struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    (void)context;
    if (date_parse(json_string_value(value)) >= 0)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not a date such as 2026-09-01T23:59:00Z",
                   path, text_show(json_string_value(value), shown, sizeof shown));
}

int64_t json_date(const json_t *object, const char *key, int64_t otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? date_parse(text) : otherwise;
}
