/*
 * text_cut: a text that is too long, cut in the middle: its first quarter and its end stay, with a
 * mark between them that says how much is missing. The end is where a log has its outcome. Pure;
 * safe from any thread.
 */
#ifndef COMMON_BASE_TEXT_CUT_H
#define COMMON_BASE_TEXT_CUT_H

#include <stddef.h>

/* Cuts UTF-8 of `length` bytes, which may contain NUL, to at most `limit`, mark included and no
 * character halved. New, NUL-terminated, free(); NULL if memory is short. Without room for a mark
 * (under 100 bytes) only the end stays. */
char *text_cut(const char *text, size_t length, size_t limit, size_t *cut_length);

#endif
