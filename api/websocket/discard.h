/*
 * frame_discard: skips the frames of a refused websocket until its close frame, so that the
 * connection can be closed. Pure. The state belongs to its owner, which zeroes it.
 */
#ifndef API_WEBSOCKET_DISCARD_H
#define API_WEBSOCKET_DISCARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_HEAD_SIZE = 14 };

struct frame_discard {
    uint8_t head[FRAME_HEAD_SIZE]; /* of the current frame, as far as it has arrived */
    unsigned head_length;
    uint64_t rest; /* bytes of its payload that are still to come */
    bool has_closed;
};

/* Skips received bytes. True once a close frame has arrived. */
bool frame_discard_feed(struct frame_discard *skipper, const uint8_t *bytes, size_t length);

/* The length of a frame's head, as far as its first `length` bytes determine it, and of its
 * payload, once the head is complete. */
unsigned frame_head_size(const uint8_t *head, unsigned length);
uint64_t frame_payload_length(const uint8_t *head);

#endif
