/*
 * answer_stream: an answer that is too long to be built whole: it is made part by part, while its
 * connection sends what is there.
 *
 * A source makes the parts, in order, on a thread of the thread pool, where it may wait for the
 * database. At most two parts are in memory: the one that is being sent and the next one. The next
 * part is made early only while little memory is used. A client that reads slowly holds memory for
 * its parts, and no thread. If a part can't be made, the connection is closed before the answer's
 * end, so that the client sees that it is not whole (by the missing last chunk, and since the JSON
 * is cut).
 *
 * Bounded, in three ways:
 * - Places: ANSWER_STREAM_MAX answers are sent at a time, ANSWER_STREAM_SHARE of one caller. A
 *   caller is a token, or without one an address (of IPv6, its /64). More are refused.
 * - Memory: ANSWER_STREAM_BYTES are held by parts, by sources, and by what a part needs while it is
 *   made, which is claimed before. A part for which there is no room waits. Of a caller that holds
 *   ANSWER_CALLER_BYTES, parts wait until it holds less. An answer whose first part waits longer
 *   than ANSWER_WAIT_MS is refused. So that no part waits for ever, one is always made when
 *   nothing else moves.
 * - Time: a client that takes less than ANSWER_RATE_BYTES a second, on average over
 *   ANSWER_RATE_MS, loses its connection. Bytes count when its system has acknowledged them; time
 *   counts while there is something to send.
 *
 * Callers: handlers on the thread pool (start), the HTTP server (response, drop), shutdown (end
 * all). Safe from any thread. A stream belongs to its exchange until its response is made, then to
 * that.
 */
#ifndef API_HTTP_ANSWER_STREAM_H
#define API_HTTP_ANSWER_STREAM_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/text_buffer.h"

struct answer_stream;
struct answer_streams;
struct exchange;
struct thread_pool;

enum {
    ANSWER_PART_BYTES = 128 * 1024, /* a part is this long, and what the source adds at once */
    ANSWER_STREAM_MAX = 64,
    ANSWER_STREAM_SHARE = ANSWER_STREAM_MAX / 4,
    ANSWER_STREAM_BYTES = 128 * 1024 * 1024,
    ANSWER_CALLER_BYTES = ANSWER_STREAM_BYTES / 4,
    ANSWER_WAITING_MAX = 1024, /* first parts that wait for room */
    ANSWER_WAITING_SHARE = ANSWER_WAITING_MAX / 4,
    ANSWER_WAIT_MS = 10000,
    ANSWER_RATE_BYTES = 16 * 1024,
    ANSWER_RATE_MS = 10000
};

/* What makes an answer. Never called by two threads at a time. */
struct answer_source {
    /* Adds some more to `part`: little, or all of something that has to be there at once anyway.
     * *is_last: that was all. What is returned but BW_OK ends the answer. */
    enum bw_code (*produce)(void *context, struct text_buffer *part, bool *is_last,
                            struct bw_error *error);
    void (*release)(void *context);
    /* Bytes that it holds for this answer alone. NULL: next to nothing. */
    size_t (*held)(const void *context);
    /* Bytes that making the next part takes for a while at most, if they are many. NULL: few. */
    size_t (*needed)(const void *context);
    void *context;
};

/* `thread_pool` as a pointer to where it will be: it is opened later, and closed after the last
 * answer. Never NULL. */
struct answer_streams *answer_streams_new(struct thread_pool *const *thread_pool);
void answer_streams_free(struct answer_streams *streams); /* NULL is fine */

/* Ends those that are being sent, refuses those that wait, and all that are started from now on. */
void answer_streams_end(struct answer_streams *streams);

/* Answers the exchange with what `source`, which is taken, makes. The first part is made here, or
 * later if there is no room yet: if that is all, it is an ordinary answer; if it fails, a refusal.
 */
void answer_stream_send(struct answer_streams *streams, struct exchange *exchange,
                        const struct answer_source *source);

/* Answers with `before`, `value` (borrowed) as compact JSON, and `after`. A long text is counted
 * before it is built, and sent as above; without room it is refused. */
void answer_stream_send_json(struct answer_streams *streams, struct exchange *exchange,
                             const char *before, const json_t *value, const char *after);

/* The response that sends it on the connection, whose socket is `fd`; takes the stream. NULL:
 * memory is short, and the stream is dropped. */
struct MHD_Response *answer_stream_response(struct answer_stream *stream,
                                            struct MHD_Connection *connection, int fd);

/* Nobody will read it. NULL is fine. */
void answer_stream_drop(struct answer_stream *stream);

#endif
