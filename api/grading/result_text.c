#include "api/grading/result_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_write.h"
#include "common/base/text_cut.h"

enum { MARK_ROOM = 200, LEAST_STRING = 200 };

static char *result_text_write_value(const json_t *value)
{
    return json_write(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* ---- Lists ---- */

/* A list of as many items as fit, and one that gives the number of the others. New reference; NULL:
 * not even the first one fits. */
static json_t *result_text_cut_list(const json_t *list, size_t limit)
{
    size_t index, used = MARK_ROOM;
    json_t *item, *cut = json_array();
    json_array_foreach (list, index, item) {
        used += json_dumpb(item, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) + 1;
        if (used > limit)
            break;
        json_array_append(cut, item);
    }
    if (index == 0) {
        json_decref(cut);
        return NULL;
    }
    json_array_append_new(
        cut, json_pack("{s:o}", "cut",
                       json_sprintf("%zu of %zu results were too large to be kept",
                                    json_array_size(list) - index, json_array_size(list))));
    return cut;
}

/* ---- Strings ---- */

/* A copy in which no string is longer than `longest`. Recursive: json_parse limits the depth. New
 * reference; NULL: out of memory. */
static json_t *result_text_shorten(const json_t *value, size_t longest);

static json_t *result_text_shorten_string(const json_t *string, size_t longest)
{
    size_t length;
    if (json_string_length(string) <= longest)
        return json_incref((json_t *)(uintptr_t)string);
    char *cut = text_cut(json_string_value(string), json_string_length(string), longest, &length);
    json_t *shortened = json_stringn(cut, length);
    free(cut);
    return shortened;
}

static json_t *result_text_shorten_list(const json_t *list, size_t longest)
{
    size_t index;
    json_t *item, *copy = json_array();
    json_array_foreach (list, index, item)
        json_array_append_new(copy, result_text_shorten(item, longest));
    return copy;
}

static json_t *result_text_shorten_object(const json_t *object, size_t longest)
{
    const char *name;
    json_t *member, *copy = json_object();
    json_object_foreach ((json_t *)(uintptr_t)object, name, member)
        json_object_set_new(copy, name, result_text_shorten(member, longest));
    return copy;
}

static json_t *result_text_shorten(const json_t *value, size_t longest)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return result_text_shorten_string(value, longest);
    case JSON_ARRAY:
        return result_text_shorten_list(value, longest);
    case JSON_OBJECT:
        return result_text_shorten_object(value, longest);
    default:
        return json_incref((json_t *)(uintptr_t)value);
    }
}

/* The text of a value whose strings are cut to `longest`; NULL if it is still over the limit. */
static char *result_text_write_shortened(const json_t *value, size_t longest, size_t limit)
{
    json_auto_t *shortened = result_text_shorten(value, longest);
    char *text = shortened != NULL ? result_text_write_value(shortened) : NULL;
    if (text != NULL && strlen(text) <= limit)
        return text;
    free(text);
    return NULL;
}

/* The least length of a value's text when its strings are cut. Computing it is cheap, unlike
 * copying a million values only to find that they do not fit. */
static size_t result_text_least_size(const json_t *value)
{
    size_t index, size = 2;
    const char *name;
    json_t *item;
    if (json_is_string(value))
        return size + (json_string_length(value) < LEAST_STRING ? json_string_length(value) : 0);
    if (json_is_array(value)) {
        json_array_foreach (value, index, item)
            size += result_text_least_size(item) + 1;
    } else if (json_is_object(value)) {
        json_object_foreach ((json_t *)(uintptr_t)value, name, item)
            size += strlen(name) + 3 + result_text_least_size(item) + 1;
    } else {
        size = 1;
    }
    return size;
}

/* Cuts the strings as little as possible, by binary search. NULL: the strings are not what makes
 * the value large. */
static char *result_text_cut_strings(const json_t *value, size_t limit)
{
    if (result_text_least_size(value) >
        limit + 1) /* one byte too many is counted: there is no comma after the last value */
        return NULL;
    char *least = result_text_write_shortened(value, LEAST_STRING, limit);
    if (least == NULL)
        return NULL;
    for (size_t longest = limit - limit / 16; longest > LEAST_STRING; longest /= 2) {
        char *text = result_text_write_shortened(value, longest, limit);
        if (text != NULL) {
            free(least);
            return text;
        }
    }
    return least;
}

static char *result_text_cut_value(const json_t *value, size_t limit)
{
    json_auto_t *list = json_is_array(value) ? result_text_cut_list(value, limit) : NULL;
    return list != NULL ? result_text_write_value(list) : result_text_cut_strings(value, limit);
}

enum bw_code result_text_make(const json_t *value, size_t limit, char **text, bool *is_cut,
                              struct bw_error *error)
{
    char *whole = result_text_write_value(value);
    if (whole == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    size_t length = strlen(whole);
    *is_cut = length > limit;
    if (length <= limit) {
        *text = whole;
        return BW_OK;
    }
    free(whole);
    *text = result_text_cut_value(value, limit);
    if (*text == NULL)
        return bw_fail(error, BW_TOO_LARGE, "result: %zu bytes are too many, the limit is %zu",
                       length, limit);
    return BW_OK;
}
