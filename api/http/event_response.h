/*
 * event_response: the response of a stream of server-sent events, whose bytes its owner provides
 * piece by piece. Callers: api/grading, on any thread. No state.
 */
#ifndef API_HTTP_EVENT_RESPONSE_H
#define API_HTTP_EVENT_RESPONSE_H

#include <microhttpd.h>
#include <stddef.h>

/* A response with the headers of an event stream, which no proxy keeps back. `read` is asked for at
 * most `block_bytes` bytes at a time. `drop` is called with `context` when the response is
 * destroyed, or at once if it can't be made: then NULL. */
struct MHD_Response *event_response_new(size_t block_bytes, MHD_ContentReaderCallback read,
                                        void *context, MHD_ContentReaderFreeCallback drop);

#endif
