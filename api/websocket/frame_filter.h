/*
 * frame_filter: rewrites a websocket's frames before wslay parses them. wslay closes a connection
 * whose text is not UTF-8, before the text can be repaired; so the filter turns text frames into
 * binary frames, which wslay does not check. wslay also closes a connection whose message is too
 * large, before its sender's job can be found; so the filter stops at such a message before wslay
 * has the head of its frame. Pure. The state belongs to its owner, which zeroes it and clears it at
 * the end.
 */
#ifndef API_WEBSOCKET_FRAME_FILTER_H
#define API_WEBSOCKET_FRAME_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/websocket/discard.h"

enum { FRAME_PREFIX_SIZE = 1024 };

struct frame_filter {
    uint8_t head[FRAME_HEAD_SIZE]; /* of the current frame, as far as it has arrived */
    unsigned head_length;
    uint64_t rest;    /* bytes of its payload that are still to come */
    uint64_t message; /* length of the current message's payload, as far as its frames have declared
                         it */
    bool is_oversized;
    /* valid if is_oversized: */
    struct frame_discard skipper;
    char *
        prefix; /* own: the first bytes of the payload, if the message's first frame is too large */
    size_t prefix_length, prefix_size;
};

/* Filters received bytes in place. Returns how many of them are to be passed to wslay; the others
 * are dropped, and so is all data once `is_oversized` is true. `limit`: bytes of a message's
 * payload. */
size_t frame_filter_feed(struct frame_filter *filter, uint8_t *bytes, size_t length,
                         uint64_t limit);

/* Whether the beginning of an oversized message has arrived: its first FRAME_PREFIX_SIZE bytes, or
 * its first frame, if that is shorter. */
bool frame_filter_has_prefix(const struct frame_filter *filter);

/* Frees the prefix. */
void frame_filter_clear(struct frame_filter *filter);

#endif
