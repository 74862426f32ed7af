#include "common/base/json_seek.h"

#include <string.h>

void json_seek_begin(struct json_seek *seek, const char *name)
{
    *seek = (struct json_seek){.name = name, .last = JSON_SEEK_OTHER};
}

static void json_seek_end_string(struct json_seek *seek)
{
    bool is_value = seek->last == JSON_SEEK_COLON;
    seek->in_string = false;
    seek->string[seek->length] = '\0';
    seek->is_found = seek->is_over = is_value && seek->is_plain;
    bool is_name = seek->depth == 1 && seek->is_plain && strcmp(seek->string, seek->name) == 0;
    seek->last = is_name ? JSON_SEEK_NAME : JSON_SEEK_OTHER;
}

/* Takes the part of a string up to its next quote or backslash. Returns how long that is. */
static size_t json_seek_take_plain(struct json_seek *seek, const char *text, size_t length)
{
    size_t taken = 0;
    while (taken < length && text[taken] != '"' && text[taken] != '\\')
        taken++;
    if (!seek->is_plain)
        return taken;
    if (taken >= JSON_SEEK_SIZE - seek->length || memchr(text, '\0', taken) != NULL) {
        seek->is_plain = false;
        return taken;
    }
    memcpy(seek->string + seek->length, text, taken);
    seek->length += taken;
    return taken;
}

/* Within a string. Returns how much was taken, at least 1. */
static size_t json_seek_take_string(struct json_seek *seek, const char *text, size_t length)
{
    if (seek->is_escaped) {
        seek->is_escaped = false;
        return 1;
    }
    if (text[0] == '"') {
        json_seek_end_string(seek);
        return 1;
    }
    if (text[0] == '\\') {
        seek->is_escaped = true;
        seek->is_plain = false;
        return 1;
    }
    return json_seek_take_plain(seek, text, length);
}

/* Between strings. */
static void json_seek_take_token(struct json_seek *seek, char c)
{
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        return;
    if (c == '"') {
        seek->in_string = seek->is_plain = true;
        seek->length = 0;
        return;
    }
    if (c == '{' || c == '[')
        seek->depth++;
    else if ((c == '}' || c == ']') && seek->depth > 0)
        seek->depth--;
    seek->last = c == ':' && seek->last == JSON_SEEK_NAME ? JSON_SEEK_COLON : JSON_SEEK_OTHER;
}

void json_seek_take(struct json_seek *seek, const char *text, size_t length)
{
    while (length > 0 && !seek->is_over) {
        size_t taken = 1;
        if (seek->in_string)
            taken = json_seek_take_string(seek, text, length);
        else
            json_seek_take_token(seek, text[0]);
        text += taken;
        length -= taken;
    }
}
