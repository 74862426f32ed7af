/*
 * text_buffer: text that is written piece by piece. Without memory the process aborts. Not safe for
 * two threads at a time.
 */
#ifndef COMMON_BASE_TEXT_BUFFER_H
#define COMMON_BASE_TEXT_BUFFER_H

#include <jansson.h>
#include <stddef.h>

struct text_buffer {
    char *bytes; /* own; not ended by a NUL; NULL while nothing was written */
    size_t length, size;
};

void text_buffer_add(struct text_buffer *buffer, const char *bytes, size_t length);
void text_buffer_add_text(struct text_buffer *buffer, const char *text);

/* The same as the inside of a JSON string: escaped as jansson does, without the quotes. The text is
 * UTF-8; it may be a part of one, cut anywhere. */
void text_buffer_add_escaped(struct text_buffer *buffer, const char *text, size_t length);

/* Adds a new value as compact JSON, and releases it. NULL: the process aborts. */
void text_buffer_add_new(struct text_buffer *buffer, json_t *value);

/* Returns the text, ended by a NUL, to be freed with free(). The buffer is empty afterwards. */
char *text_buffer_take(struct text_buffer *buffer);

/* Empties it, and keeps no more memory than `kept` bytes. */
void text_buffer_reset(struct text_buffer *buffer, size_t kept);

/* Shrinks its memory to the length of its text. */
void text_buffer_fit(struct text_buffer *buffer);

/* Frees the memory. The buffer is empty afterwards. */
void text_buffer_clear(struct text_buffer *buffer);

#endif
