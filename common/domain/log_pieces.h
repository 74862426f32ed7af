/*
 * log_pieces: a job's stdout or stderr as the pieces that are there of it, each at its offset: the
 * chunks that a grader sent, or the two ends of a stored log that was cut. Makes the text of a
 * range of it, with a mark in each gap. Pure; not safe for two threads at a time.
 */
#ifndef COMMON_DOMAIN_LOG_PIECES_H
#define COMMON_DOMAIN_LOG_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/text_buffer.h"
#include "common/base/text_cut.h"

/* A log of which more bytes are said to be missing counts as one that was not cut. */
#define LOG_MISSING_MAX ((size_t)1000 * 1000 * 1000 * 100)

struct log_piece {
    int64_t offset;
    char *bytes; /* own */
    size_t length;
};

struct log_pieces {
    struct log_piece *list; /* own */
    size_t count, room;
    size_t bytes; /* of all pieces */
};

/* Adds a copy of some bytes. In any order; pieces do not overlap. */
void log_pieces_add(struct log_pieces *pieces, int64_t offset, const char *bytes, size_t length);

/* Adds a stored log. If it was cut, its end gets the offset that it had before. */
void log_pieces_add_stored(struct log_pieces *pieces, const char *text, size_t length,
                           const struct text_cut_place *cut);

/* Sorts the pieces, once all are added. */
void log_pieces_sort(struct log_pieces *pieces);

/* The size of the stream: the end of the last piece. */
int64_t log_pieces_size(const struct log_pieces *pieces);

/* The offset where the last `lines` lines begin, as far as they are there. */
int64_t log_pieces_tail(const struct log_pieces *pieces, int64_t lines);

/* Appends the bytes from `from` to before `to` as UTF-8: what is missing becomes a mark, what is
 * no UTF-8, or NUL, becomes U+FFFD. */
void log_pieces_write(const struct log_pieces *pieces, int64_t from, int64_t to,
                      struct text_buffer *text);

/* Appends bytes as UTF-8, as above. */
void log_text_add(struct text_buffer *text, const char *bytes, size_t length);

/* Frees the pieces; there are none afterwards. */
void log_pieces_clear(struct log_pieces *pieces);

#endif
