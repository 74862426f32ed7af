/*
 * frame_discard: reads past the frames of a websocket whose messages nobody wants, until its close
 * frame: what is needed to close a connection that was refused. Pure; belongs to its owner.
 */
#ifndef API_WEBSOCKET_DISCARD_H
#define API_WEBSOCKET_DISCARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEAD_SIZE = 14 };

struct frame_discard {
    uint8_t head[FRAME_HEAD_SIZE]; /* of the frame at hand, as far as it is there */
    unsigned head_length;
    uint64_t rest; /* of its payload */
    bool has_closed;
};

/* Takes bytes; true once a close frame has come. */
bool frame_discard_feed(struct frame_discard *skipper, const uint8_t *bytes, size_t length);

/* How long a frame's head is, as far as it can be said from its first `length` bytes; and how long
 * its payload, once the head is whole. */
unsigned frame_head_size(const uint8_t *head, unsigned length);
uint64_t frame_payload_length(const uint8_t *head);

#endif
