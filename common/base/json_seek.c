#include "common/base/json_seek.h"

#include <string.h>

#include "common/base/json_mend.h"

void json_seek_begin(struct json_seek *seek, const char *name)
{
    *seek = (struct json_seek){.name = name, .last = JSON_SEEK_OTHER};
}

static void json_seek_end_string(struct json_seek *seek)
{
    bool is_value = seek->last == JSON_SEEK_COLON;
    bool is_text = seek->is_kept &&
                   json_unescape_ascii(seek->string, seek->length, seek->string, JSON_SEEK_SIZE);
    seek->in_string = false;
    seek->is_found = seek->is_over = is_value && is_text;
    bool is_name = seek->depth == 1 && is_text && strcmp(seek->string, seek->name) == 0;
    seek->last = is_name ? JSON_SEEK_NAME : JSON_SEEK_OTHER;
}

static void json_seek_keep(struct json_seek *seek, const char *text, size_t length)
{
    seek->is_kept = seek->is_kept && length <= sizeof seek->string - seek->length;
    if (!seek->is_kept)
        return;
    memcpy(seek->string + seek->length, text, length);
    seek->length += length;
}

/* Takes the part of a string up to its next quote or backslash. Returns how long that is. */
static size_t json_seek_take_plain(struct json_seek *seek, const char *text, size_t length)
{
    size_t taken = 0;
    while (taken < length && text[taken] != '"' && text[taken] != '\\')
        taken++;
    json_seek_keep(seek, text, taken);
    return taken;
}

/* Within a string. Returns how much was taken, at least 1. */
static size_t json_seek_take_string(struct json_seek *seek, const char *text, size_t length)
{
    if (!seek->is_escaped && text[0] == '"') {
        json_seek_end_string(seek);
        return 1;
    }
    if (!seek->is_escaped && text[0] != '\\')
        return json_seek_take_plain(seek, text, length);
    seek->is_escaped = !seek->is_escaped;
    json_seek_keep(seek, text, 1);
    return 1;
}

/* Between strings. */
static void json_seek_take_token(struct json_seek *seek, char c)
{
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        return;
    if (seek->depth == 0 && c != '{') {
        seek->is_over = true;
        return;
    }
    if (c == '"') {
        seek->in_string = seek->is_kept = true;
        seek->length = 0;
        return;
    }
    if (c == '{' || c == '[')
        seek->depth++;
    else if (c == '}' || c == ']')
        seek->depth--;
    seek->is_over = seek->depth == 0;
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
