#include "api/websocket/frame_filter.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

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

/* The message is too large: from now on its frames are skipped, except for the message's
 * beginning. */
static void frame_filter_begin_skipping(struct frame_filter *filter, uint64_t payload)
{
    filter->is_oversized = true;
    filter->skipper = (struct frame_discard){.rest = payload};
    if (frame_filter_opcode(filter) == OPCODE_CONTINUATION || (filter->head[1] & 0x80) == 0)
        return;
    filter->prefix = bw_alloc(FRAME_PREFIX_SIZE);
    filter->prefix_size = payload < FRAME_PREFIX_SIZE ? (size_t)payload : FRAME_PREFIX_SIZE;
}

/* The head is complete: the payload follows, or the message is too large. */
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

/* Takes a byte of a head; turns a text frame into a binary frame. */
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

/* Skips bytes after the head of the frame that is too large. */
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
            return at - 1; /* wslay never receives the last byte of that head */
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
