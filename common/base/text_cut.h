/*
 * text_cut: cuts a text that is too long in the middle: its first quarter and its end are kept,
 * with a mark between them that has the number of missing bytes. The end of a log usually has its
 * outcome. Pure; safe from any thread.
 */
#ifndef COMMON_BASE_TEXT_CUT_H
#define COMMON_BASE_TEXT_CUT_H

#include <stdbool.h>
#include <stddef.h>

enum { TEXT_CUT_MARK_SIZE = 64 };

/* Cuts UTF-8 of `length` bytes, which may contain NUL, to at most `limit`, mark included and no
 * character halved. New, NUL-terminated, free(); never NULL. Without room for a mark (under
 * 100 bytes) only the end is kept. */
char *text_cut(const char *text, size_t length, size_t limit, size_t *cut_length);

/* The length of the text's beginning of at most `limit` bytes, no character halved. */
size_t text_cut_start(const char *text, size_t limit);

/* Writes the mark for a number of missing bytes, and returns it. */
const char *text_cut_mark(size_t missing, char mark[TEXT_CUT_MARK_SIZE]);

/* Where a text was cut. The text does not tell: anybody can write a mark. */
struct text_cut_place {
    size_t head, tail; /* the mark is between the first `head` bytes and the byte `tail` */
    size_t missing;    /* bytes that it stands for; 0: the text was not cut */
};

/* The same as text_cut, and sets *place. */
char *text_cut_place(const char *text, size_t length, size_t limit, size_t *cut_length,
                     struct text_cut_place *place);

/* Whether the text has the mark that place->head and place->missing say; then sets place->tail. */
bool text_cut_has_mark(const char *text, size_t length, struct text_cut_place *place);

#endif
