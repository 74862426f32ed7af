#include "common/base/alloc.h"
#include "common/base/text_buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_write.h"

enum { FIRST_SIZE = 1024 };

static void text_buffer_reserve(struct text_buffer *buffer, size_t more)
{
    size_t size = buffer->size > 0 ? buffer->size : FIRST_SIZE;
    while (size - buffer->length < more)
        size *= 2;
    if (size == buffer->size)
        return;
    buffer->bytes = bw_grow(buffer->bytes, size, 1);
    buffer->size = size;
}

void text_buffer_add(struct text_buffer *buffer, const char *bytes, size_t length)
{
    text_buffer_reserve(buffer, length);
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

void text_buffer_add_text(struct text_buffer *buffer, const char *text)
{
    text_buffer_add(buffer, text, strlen(text));
}

/* The escape of a byte; NULL: it is not escaped. `code` is a buffer for \u00xx. */
static const char *text_buffer_escape(unsigned char byte, char code[7])
{
    static const char *const escapes[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",  ['\f'] = "\\f",
        ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\",
    };
    if (byte < sizeof escapes / sizeof *escapes && escapes[byte] != NULL)
        return escapes[byte];
    if (byte >= ' ')
        return NULL;
    snprintf(code, 7, "\\u%04X", byte);
    return code;
}

void text_buffer_add_escaped(struct text_buffer *buffer, const char *text, size_t length)
{
    char code[7];
    size_t plain = 0; /* start of the bytes that were not added yet */
    for (size_t i = 0; i < length; i++) {
        const char *escape = text_buffer_escape((unsigned char)text[i], code);
        if (escape == NULL)
            continue;
        text_buffer_add(buffer, text + plain, i - plain);
        text_buffer_add_text(buffer, escape);
        plain = i + 1;
    }
    text_buffer_add(buffer, text + plain, length - plain);
}

void text_buffer_add_new(struct text_buffer *buffer, json_t *value)
{
    char *text = json_write(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL)
        abort(); /* only out of memory: parsed values can always be written */
    json_decref(value);
    text_buffer_add_text(buffer, text);
    free(text);
}

char *text_buffer_take(struct text_buffer *buffer)
{
    text_buffer_add(buffer, "", 1);
    char *text = buffer->bytes;
    *buffer = (struct text_buffer){NULL};
    return text;
}

void text_buffer_reset(struct text_buffer *buffer, size_t kept)
{
    buffer->length = 0;
    if (buffer->size > kept)
        text_buffer_clear(buffer);
}

void text_buffer_fit(struct text_buffer *buffer)
{
    if (buffer->length == 0)
        return;
    buffer->bytes = bw_grow(buffer->bytes, buffer->length, 1);
    buffer->size = buffer->length;
}

void text_buffer_clear(struct text_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct text_buffer){NULL};
}
