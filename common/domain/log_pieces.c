#include "common/domain/log_pieces.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text_cut.h"

void log_pieces_add(struct log_pieces *pieces, int64_t offset, const char *bytes, size_t length)
{
    if (length == 0)
        return;
    if (pieces->count == pieces->room) {
        size_t room = pieces->room > 0 ? 2 * pieces->room : 16;
        struct log_piece *list = bw_alloc_array(room, sizeof *list);
        if (pieces->count > 0)
            memcpy(list, pieces->list, pieces->count * sizeof *list);
        free(pieces->list);
        pieces->list = list;
        pieces->room = room;
    }
    struct log_piece *piece = &pieces->list[pieces->count++];
    piece->offset = offset;
    piece->bytes = bw_alloc(length);
    piece->length = length;
    memcpy(piece->bytes, bytes, length);
    pieces->bytes += length;
}

void log_pieces_add_stored(struct log_pieces *pieces, const char *text, size_t length,
                           const struct text_cut_place *cut)
{
    bool is_cut = cut->missing > 0 && cut->missing <= LOG_MISSING_MAX && cut->head <= cut->tail &&
                  cut->tail <= length;
    log_pieces_add(pieces, 0, text, is_cut ? cut->head : length);
    if (is_cut)
        log_pieces_add(pieces, (int64_t)(cut->head + cut->missing), text + cut->tail,
                       length - cut->tail);
}

static int log_piece_compare(const void *one, const void *other)
{
    int64_t first = ((const struct log_piece *)one)->offset,
            second = ((const struct log_piece *)other)->offset;
    return first < second ? -1 : first > second;
}

void log_pieces_sort(struct log_pieces *pieces)
{
    if (pieces->count > 1)
        qsort(pieces->list, pieces->count, sizeof *pieces->list, log_piece_compare);
}

int64_t log_pieces_size(const struct log_pieces *pieces)
{
    if (pieces->count == 0)
        return 0;
    const struct log_piece *last = &pieces->list[pieces->count - 1];
    return last->offset + (int64_t)last->length;
}

int64_t log_pieces_tail(const struct log_pieces *pieces, int64_t lines)
{
    int64_t size = log_pieces_size(pieces);
    for (size_t i = pieces->count; i-- > 0;) {
        const struct log_piece *piece = &pieces->list[i];
        for (size_t at = piece->length; at-- > 0;) {
            int64_t behind = piece->offset + (int64_t)at + 1;
            if (piece->bytes[at] != '\n' || behind == size) /* the last line's own end */
                continue;
            if (--lines == 0)
                return behind;
        }
    }
    return 0;
}

/* ---- Text ---- */

/* The length of the character of UTF-8 at the beginning of the bytes; 0: there is none. */
static size_t utf8_length(const unsigned char *bytes, size_t length)
{
    static const struct {
        unsigned char first, last; /* of the first byte */
        unsigned char least, most; /* of the second byte */
        size_t length;
    } forms[] = {
        {0x01, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (bytes[0] < forms[i].first || bytes[0] > forms[i].last)
            continue;
        if (forms[i].length > length)
            return 0;
        if (forms[i].length > 1 && (bytes[1] < forms[i].least || bytes[1] > forms[i].most))
            return 0;
        for (size_t at = 2; at < forms[i].length; at++)
            if ((bytes[at] & 0xC0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

void log_text_add(struct text_buffer *text, const char *bytes, size_t length)
{
    size_t good = 0; /* bytes before `at` that are not added yet begin here */
    for (size_t at = 0; at < length;) {
        size_t step = utf8_length((const unsigned char *)bytes + at, length - at);
        if (step == 0) {
            if (at > good)
                text_buffer_add(text, bytes + good, at - good);
            text_buffer_add_text(text, "\xEF\xBF\xBD");
            good = at + 1;
        }
        at += step > 0 ? step : 1;
    }
    if (length > good)
        text_buffer_add(text, bytes + good, length - good);
}

/* Adds the mark of a gap, if there is one. */
static void log_pieces_mark(struct text_buffer *raw, int64_t from, int64_t to)
{
    char mark[TEXT_CUT_MARK_SIZE];
    if (from < to)
        text_buffer_add_text(raw, text_cut_mark((size_t)(to - from), mark));
}

void log_pieces_write(const struct log_pieces *pieces, int64_t from, int64_t to,
                      struct text_buffer *text)
{
    struct text_buffer raw = {.bytes = NULL};
    int64_t at = from;
    for (size_t i = 0; i < pieces->count && at < to; i++) {
        const struct log_piece *piece = &pieces->list[i];
        int64_t end = piece->offset + (int64_t)piece->length;
        if (end <= at)
            continue;
        int64_t begin = piece->offset > at ? piece->offset : at;
        log_pieces_mark(&raw, at, begin < to ? begin : to);
        at = begin;
        int64_t stop = end < to ? end : to;
        if (at < stop)
            text_buffer_add(&raw, piece->bytes + (at - piece->offset), (size_t)(stop - at));
        at = stop > at ? stop : at;
    }
    log_text_add(text, raw.bytes, raw.length);
    text_buffer_clear(&raw);
}

void log_pieces_clear(struct log_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++)
        free(pieces->list[i].bytes);
    free(pieces->list);
    *pieces = (struct log_pieces){.list = NULL};
}
