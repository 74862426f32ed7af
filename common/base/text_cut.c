#include "common/base/text_cut.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARK_SIZE = 64, LEAST_LIMIT = 100, HEAD_PARTS = 4 };

static bool text_cut_is_inside_character(const char *text, size_t at)
{
    return ((unsigned char)text[at] & 0xC0) == 0x80;
}

/* Where the part ends that begins the text: at `at` or before it, between two characters. */
static size_t text_cut_head_end(const char *text, size_t at)
{
    while (at > 0 && text_cut_is_inside_character(text, at))
        at--;
    return at;
}

/* Where the part begins that ends the text: at `at` or behind it. */
static size_t text_cut_tail_start(const char *text, size_t length, size_t at)
{
    while (at < length && text_cut_is_inside_character(text, at))
        at++;
    return at;
}

char *text_cut(const char *text, size_t length, size_t limit, size_t *cut_length)
{
    char mark[MARK_SIZE] = "";
    size_t room = limit >= LEAST_LIMIT ? limit - MARK_SIZE : limit;
    size_t head = 0, tail = 0;
    if (length <= limit) {
        head = length;
        tail = length;
    } else {
        head = limit >= LEAST_LIMIT ? text_cut_head_end(text, room / HEAD_PARTS) : 0;
        tail = text_cut_tail_start(text, length, length - (room - head));
    }
    if (length > limit && limit >= LEAST_LIMIT)
        snprintf(mark, sizeof mark, "\n[... %zu bytes cut ...]\n", tail - head);
    size_t mark_length = strlen(mark), tail_length = length - tail;
    char *cut = malloc(head + mark_length + tail_length + 1);
    if (cut == NULL)
        return NULL;
    memcpy(cut, text, head);
    memcpy(cut + head, mark, mark_length);
    memcpy(cut + head + mark_length, text + tail, tail_length);
    *cut_length = head + mark_length + tail_length;
    cut[*cut_length] = '\0';
    return cut;
}
