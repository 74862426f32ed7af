#include "api/websocket/discard.h"

enum { OPCODE_CLOSE = 8, LENGTH_16 = 126, LENGTH_64 = 127, MASK_BYTES = 4 };

unsigned frame_head_size(const uint8_t *head, unsigned length)
{
    if (length < 2)
        return 2;
    unsigned code = head[1] & 0x7F;
    unsigned extended = code == LENGTH_64 ? 8 : code == LENGTH_16 ? 2 : 0;
    return 2 + extended + ((head[1] & 0x80) != 0 ? MASK_BYTES : 0);
}

uint64_t frame_payload_length(const uint8_t *head)
{
    unsigned code = head[1] & 0x7F;
    unsigned extended = code == LENGTH_64 ? 8 : code == LENGTH_16 ? 2 : 0;
    uint64_t value = 0;
    for (unsigned i = 0; i < extended; i++)
        value = value << 8 | head[2 + i];
    return extended > 0 ? value : code;
}

/* The head is complete: the payload follows. */
static void begin_payload(struct frame_discard *skipper)
{
    skipper->has_closed = skipper->has_closed || (skipper->head[0] & 0x0F) == OPCODE_CLOSE;
    skipper->rest = frame_payload_length(skipper->head);
    skipper->head_length = 0;
}

bool frame_discard_feed(struct frame_discard *skipper, const uint8_t *bytes, size_t length)
{
    size_t at = 0;
    while (at < length && !skipper->has_closed) {
        if (skipper->rest > 0) {
            uint64_t step = length - at < skipper->rest ? length - at : skipper->rest;
            skipper->rest -= step;
            at += (size_t)step;
            continue;
        }
        skipper->head[skipper->head_length++] = bytes[at++];
        if (skipper->head_length >= 2 &&
            skipper->head_length == frame_head_size(skipper->head, skipper->head_length))
            begin_payload(skipper);
    }
    return skipper->has_closed;
}
