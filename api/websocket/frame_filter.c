#include "api/websocket/frame_filter.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CONTROL = 8,
    MASK_BYTES = 4
};

static unsigned frame_filter_opcode(const struct frame_filter *filter)
{
    return filter->head[0] & 0x0F;
}

/* The message is too large: from here on its frames are skipped, but for its beginning. */
static void frame_filter_begin_skipping(struct frame_filter *filter, uint64_t payload)
{
    filter->is_oversized = true;
    filter->skipper = (struct frame_discard){.rest = payload};
    if (frame_filter_opcode(filter) == OPCODE_CONTINUATION || (filter->head[1] & 0x80) == 0)
        return;
    filter->prefix = malloc(FRAME_PREFIX_SIZE);
    if (filter->prefix != NULL)
        filter->prefix_size = payload < FRAME_PREFIX_SIZE ? (size_t)payload : FRAME_PREFIX_SIZE;
}

/* The head is whole. */
static void frame_filter_begin_payload(struct frame_filter *filter, uint64_t limit)
{
    uint64_t payload = frame_payload_length(filter->head);
    unsigned opcode = frame_filter_opcode(filter);
    if (opcode < OPCODE_CONTROL) {
        uint64_t before = opcode == OPCODE_CONTINUATION ? filter->message : 0;
        filter->message = before + payload;
        if (payload > limit || filter->message > limit) {
            frame_filter_begin_skipping(filter, payload);
            return;
        }
    }
    filter->rest = payload;
    filter->head_length = 0;
}

/* A byte of a head. */
static void frame_filter_take_head(struct frame_filter *filter, uint8_t *byte, uint64_t limit)
{
    if (filter->head_length == 0 && (*byte & 0x0F) == OPCODE_TEXT)
        *byte = (uint8_t)((*byte & 0xF0) | OPCODE_BINARY);
    filter->head[filter->head_length++] = *byte;
    if (filter->head_length >= 2 &&
        filter->head_length == frame_head_size(filter->head, filter->head_length))
        frame_filter_begin_payload(filter, limit);
}

static void frame_filter_take_prefix(struct frame_filter *filter, const uint8_t *bytes,
                                     size_t length)
{
    const uint8_t *mask = filter->head + filter->head_length - MASK_BYTES;
    for (size_t i = 0; i < length && filter->prefix_length < filter->prefix_size; i++) {
        filter->prefix[filter->prefix_length] = (char)(bytes[i] ^
                                                       mask[filter->prefix_length % MASK_BYTES]);
        filter->prefix_length++;
    }
}

/* Behind the head of what is too large. */
static void frame_filter_skip(struct frame_filter *filter, const uint8_t *bytes, size_t length)
{
    frame_filter_take_prefix(filter, bytes, length);
    frame_discard_feed(&filter->skipper, bytes, length);
}

size_t frame_filter_feed(struct frame_filter *filter, uint8_t *bytes, size_t length, uint64_t limit)
{
    size_t at = 0;
    if (filter->is_oversized) {
        frame_filter_skip(filter, bytes, length);
        return 0;
    }
    while (at < length) {
        if (filter->rest > 0) {
            uint64_t step = length - at < filter->rest ? length - at : filter->rest;
            filter->rest -= step;
            at += (size_t)step;
            continue;
        }
        frame_filter_take_head(filter, bytes + at++, limit);
        if (filter->is_oversized) {
            frame_filter_skip(filter, bytes + at, length - at);
            return at - 1; /* the library is never shown the end of that head */
        }
    }
    return length;
}

bool frame_filter_has_prefix(const struct frame_filter *filter)
{
    return filter->prefix_length == filter->prefix_size;
}

void frame_filter_clear(struct frame_filter *filter)
{
    free(filter->prefix);
    filter->prefix = NULL;
}
