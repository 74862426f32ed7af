#include "api/auth/course_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/config.h"
#include "common/base/json.h"
#include "common/base/log.h"

enum { FILE_MAX = 4 * 1024 * 1024, SHORT_TOKEN = 16, MAX_TOKENS = 1000, MAX_COURSES = 10000 };

/* Checks a token. Clients send it in a header, so it must consist of visible ASCII. */
static enum bw_code check_token(const json_t *value, const char *path, const void *context,
                                struct bw_error *error)
{
    const char *text = json_string_value(value);
    bool is_fine = text[0] != '\0' && json_string_length(value) <= 500;
    (void)context;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
        is_fine = is_fine && *at > 0x20 && *at < 0x7F;
    if (is_fine)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: must be 1 to 500 visible ASCII characters (it is not shown here)", path);
}

static enum bw_code check_token_name(const json_t *value, const char *path, const void *context,
                                     struct bw_error *error)
{
    static const char allowed[] =
        "-_.@0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t length = json_string_length(value);
    (void)context;
    if (length > 0 && length < TOKEN_NAME_SIZE &&
        strspn(json_string_value(value), allowed) == length)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be 1 to %d letters, digits, -, _, . or @", path,
                   TOKEN_NAME_SIZE - 1);
}

static const struct json_field token_fields[] = {
    {.name = "name", .kind = FIELD_STRING, .is_required = true, .check = check_token_name},
    {.name = "token", .kind = FIELD_STRING, .is_required = true, .check = check_token},
    {.name = NULL},
};

/* Checks a list of tokens: each a string, or an object with a name. */
static enum bw_code check_tokens(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    size_t index;
    json_t *token;
    char place[160];
    enum bw_code code = json_check_list(value, path, error);
    if (code == BW_OK && json_array_size(value) > MAX_TOKENS)
        code = bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d items", path,
                       (int)MAX_TOKENS);
    json_array_foreach (value, index, token) {
        if (code != BW_OK)
            break;
        snprintf(place, sizeof place, "%s[%zu]", path, index);
        if (json_is_object(token))
            code = json_check(token, token_fields, place, context, error);
        else if (json_is_string(token))
            code = check_token(token, place, context, error);
        else
            code = bw_fail(error, BW_BAD_REQUEST,
                           "%s: must be a string, or an object with a name and a token, not %s",
                           place, json_kind_of(token));
    }
    return code;
}

static const struct json_field course_fields[] = {
    {.name = "tokens", .kind = FIELD_ANY, .check = check_tokens},
    {.name = "query_tokens", .kind = FIELD_ANY, .check = check_tokens},
    {.name = "weight", .kind = FIELD_INTEGER, .minimum = 1, .maximum = COURSE_WEIGHT_MAX},
    {.name = "max_running", .kind = FIELD_INTEGER, .maximum = COURSE_MAX_RUNNING_MAX},
    {.name = "classes", .kind = FIELD_ANY, .check = run_classes_check},
    {.name = NULL},
};

/* Checks a course's name. 24 hex digits are refused: in a path they would be a run of the classic
 * protocol. */
static enum bw_code course_config_check_name(const char *name, struct bw_error *error)
{
    char shown[80];
    static const char allowed[] =
        "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t length = strlen(name);
    if (length == 0 || length >= WORKER_ID_SIZE || strspn(name, allowed) != length)
        return bw_fail(
            error, BW_BAD_REQUEST,
            "'%s' can't be the name of a course: it must be 1 to %d letters, digits, - or _",
            text_show(name, shown, sizeof shown), WORKER_ID_SIZE - 1);
    if (is_hex_id(name, RUN_ID_LENGTH))
        return bw_fail(
            error, BW_BAD_REQUEST,
            "'%s' can't be the name of a course: 24 hex digits are the id of a grading run", name);
    return BW_OK;
}

static void take_tokens(const char *course, const json_t *tokens, struct known_tokens *known,
                        struct token_list *list)
{
    size_t index;
    json_t *item;
    list->items = bw_alloc_array(json_array_size(tokens) + 1, sizeof *list->items);
    list->names = bw_alloc_array(json_array_size(tokens) + 1, sizeof *list->names);
    json_array_foreach (tokens, index, item) {
        const json_t *token = json_is_object(item) ? json_object_get(item, "token") : item;
        const char *name = json_string_value(json_object_get(item, "name"));
        snprintf(list->names[list->count], TOKEN_NAME_SIZE, "%s", name != NULL ? name : "");
        token_hash_make(json_string_value(token), &list->items[list->count++]);
        known_tokens_add(known, json_string_value(token));
        if (json_string_length(token) < SHORT_TOKEN)
            log_warning("a token is short: it can be guessed", log_text("course", course));
    }
}

/* The order of the course's jobs among those of others. */
static void take_scheduling(const json_t *value, struct course_entry *course)
{
    const json_t *max_running = json_object_get(value, "max_running");
    course->classes = run_classes_of(json_object_get(value, "classes"));
    course->weight = (uint32_t)json_integer_value(json_object_get(value, "weight"));
    course->max_running = (uint32_t)json_integer_value(max_running);
    course->has_max_running = max_running != NULL;
}

static enum bw_code take_course(const char *name, const json_t *value, struct known_tokens *known,
                                struct course_list *list, struct bw_error *error)
{
    enum bw_code code = course_config_check_name(name, error);
    if (code == BW_OK)
        code = json_check(value, course_fields, name, NULL, error);
    if (code != BW_OK)
        return code;
    struct course_entry *course = &list->items[list->count++];
    snprintf(course->name, sizeof course->name, "%s", name);
    take_tokens(name, json_object_get(value, "tokens"), known, &course->tokens);
    take_tokens(name, json_object_get(value, "query_tokens"), known, &course->query_tokens);
    take_scheduling(value, course);
    return BW_OK;
}

enum bw_code course_config_parse(const char *text, size_t length, struct known_tokens *known,
                                 struct course_list *list, struct bw_error *error)
{
    json_auto_t *object = NULL;
    const char *name;
    json_t *value;
    enum bw_code code = json_parse(text, length, "the file", &object, error);
    if (code != BW_OK)
        return code;
    if (!json_is_object(object) || json_object_size(object) > MAX_COURSES)
        return bw_fail(error, BW_BAD_REQUEST, "must be an object of at most %d courses",
                       (int)MAX_COURSES);
    struct course_list read = {
        .items = bw_alloc_array(json_object_size(object), sizeof *read.items)};
    json_object_foreach (object, name, value) {
        code = take_course(name, value, known, &read, error);
        if (code != BW_OK) {
            course_list_clear(&read);
            return code;
        }
    }
    *list = read;
    return BW_OK;
}

enum bw_code course_config_read(const char *path, struct known_tokens *known,
                                struct course_list *list, struct bw_error *error)
{
    struct bw_error reason;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "%s %.200s: %s", config_source("course-config"), path,
                       strerror(errno));
    char *text = bw_alloc(FILE_MAX + 1);
    size_t length = fread(text, 1, FILE_MAX + 1, file);
    bool is_read = ferror(file) == 0;
    fclose(file);
    enum bw_code code;
    if (!is_read || length > FILE_MAX)
        code = bw_fail(&reason, BW_BAD_REQUEST, "the file can't be read, or is over %d bytes",
                       (int)FILE_MAX);
    else
        code = course_config_parse(text, length, known, list, &reason);
    free(text);
    if (code == BW_OK)
        return BW_OK;
    return bw_fail(error, code, "%s %.200s: %s", config_source("course-config"), path,
                   reason.message);
}
