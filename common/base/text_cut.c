#include "common/base/text_cut.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"

enum { LEAST_LIMIT = 100, HEAD_PARTS = 4 };

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

size_t text_cut_start(const char *text, size_t limit)
{
    return text_cut_head_end(text, strnlen(text, limit));
}

const char *text_cut_mark(size_t missing, char mark[TEXT_CUT_MARK_SIZE])
{
    snprintf(mark, TEXT_CUT_MARK_SIZE, "\n[... %zu bytes cut ...]\n", missing);
    return mark;
}

bool text_cut_has_mark(const char *text, size_t length, struct text_cut_place *place)
{
    char mark[TEXT_CUT_MARK_SIZE];
    size_t mark_length = strlen(text_cut_mark(place->missing, mark));
    if (place->missing == 0 || place->head > length || length - place->head < mark_length ||
        memcmp(text + place->head, mark, mark_length) != 0)
        return false;
    place->tail = place->head + mark_length;
    return true;
}

char *text_cut(const char *text, size_t length, size_t limit, size_t *cut_length)
{
    struct text_cut_place unused;
    return text_cut_place(text, length, limit, cut_length, &unused);
}

char *text_cut_place(const char *text, size_t length, size_t limit, size_t *cut_length,
                     struct text_cut_place *place)
{
    char mark[TEXT_CUT_MARK_SIZE] = "";
    size_t room = limit >= LEAST_LIMIT ? limit - TEXT_CUT_MARK_SIZE : limit;
    size_t head = 0, tail = 0;
    if (length <= limit) {
        head = length;
        tail = length;
    } else {
        head = limit >= LEAST_LIMIT ? text_cut_head_end(text, room / HEAD_PARTS) : 0;
        tail = text_cut_tail_start(text, length, length - (room - head));
    }
    if (length > limit && limit >= LEAST_LIMIT)
        text_cut_mark(tail - head, mark);
    size_t mark_length = strlen(mark), tail_length = length - tail;
    char *cut = bw_alloc(head + mark_length + tail_length + 1);
    memcpy(cut, text, head);
    memcpy(cut + head, mark, mark_length);
    memcpy(cut + head + mark_length, text + tail, tail_length);
    *cut_length = head + mark_length + tail_length;
    *place = (struct text_cut_place){head, head + mark_length, tail - head};
    cut[*cut_length] = '\0';
    return cut;
}
