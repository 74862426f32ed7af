/*
 * frame_filter: what a websocket's frames pass on their way to the library that takes them apart.
 * The library closes a connection whose text is not UTF-8, before anybody could mend it: here text
 * frames become binary ones, which it leaves alone. And it closes one whose message is too large,
 * without saying whose that was: here such a message ends the filtering before the library has seen
 * the head of its frame. Pure; belongs to its owner.
 */
#ifndef API_WEBSOCKET_FRAME_FILTER_H
#define API_WEBSOCKET_FRAME_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/websocket/discard.h"

enum { FRAME_PREFIX_SIZE = 1024 };

struct frame_filter {
    uint8_t head[FRAME_HEAD_SIZE]; /* of the frame at hand, as far as it is there */
    unsigned head_length;
    uint64_t rest;    /* of its payload */
    uint64_t message; /* payload of the message at hand, its frames' heads having been seen */
    bool is_oversized;
    /* once it is: */
    struct frame_discard skipper;
    char *
        prefix; /* own: the first bytes of the payload, if the message's first frame is too large */
    size_t prefix_length, prefix_size;
};

/* Looks at bytes as they come, changing them in place. How many of them may go to the library; the
 * others are dropped, and so is all that comes once `is_oversized` is true. `limit`: of a message's
 * payload. */
size_t frame_filter_feed(struct frame_filter *filter, uint8_t *bytes, size_t length,
                         uint64_t limit);

/* Is as much of an oversized message there as is wanted of it? */
bool frame_filter_has_prefix(const struct frame_filter *filter);

void frame_filter_clear(struct frame_filter *filter);

#endif
