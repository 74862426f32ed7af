/*
 * answer_stream: an answer that is too long to be built whole: it is made part by part, while its
 * connection sends what is there.
 *
 * A source makes the parts, in order, on a thread of the thread pool, where it may wait for the
 * database. At most two parts are in memory: the one that is being sent and the next one. The next
 * part is begun when the connection takes the one before, so that a client that reads slowly holds
 * memory for two parts, and no thread. If a part can't be made, the connection is closed before the
 * answer's end, so that the client sees that it is not whole (by the missing last chunk, and since
 * the JSON is cut).
 *
 * Bounded: ANSWER_STREAM_MAX answers at a time, and ANSWER_STREAM_BYTES that their sources hold.
 * When there is no room, the one whose client has taken nothing for longest is ended, if that is
 * longer than ANSWER_STREAM_STALL_MS; else the new one is refused.
 *
 * Callers: handlers on the thread pool (start), the HTTP server (response, drop), shutdown (end
 * all). Safe from any thread. A stream belongs to its exchange until its response is made, then to
 * that.
 */
#ifndef API_HTTP_ANSWER_STREAM_H
#define API_HTTP_ANSWER_STREAM_H

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
    ANSWER_STREAM_BYTES = 128 * 1024 * 1024,
    ANSWER_STREAM_STALL_MS = 10000
};

/* What makes an answer. Never called by two threads at a time. */
struct answer_source {
    /* Adds some more to `part`: little, or all of something that has to be there at once anyway.
     * *is_last: that was all. What is returned but BW_OK ends the answer. */
    enum bw_code (*produce)(void *context, struct text_buffer *part, bool *is_last,
                            struct bw_error *error);
    void (*release)(void *context);
    void *context;
    size_t held_bytes; /* about what it holds in memory for this answer alone, if that is much */
};

/* `thread_pool` as a pointer to where it will be: it is opened later, and closed after the last
 * answer. */
struct answer_streams *answer_streams_new(struct thread_pool *const *thread_pool);
void answer_streams_free(struct answer_streams *streams); /* NULL is fine */

/* Ends those that are being sent, and all that are started from now on. */
void answer_streams_end(struct answer_streams *streams);

/* Answers the exchange with what `source`, which is taken, makes. The first part is made here: if
 * that is all, it is an ordinary answer; if it fails, a refusal. */
void answer_stream_send(struct answer_streams *streams, struct exchange *exchange,
                        const struct answer_source *source);

/* Answers with a text, stolen (free()), that is sent and counted like that if it is long. */
void answer_stream_send_text(struct answer_streams *streams, struct exchange *exchange, char *text);

/* The response that sends it on the connection, whose socket is `fd`; takes the stream. NULL:
 * memory is short, and the stream is dropped. */
struct MHD_Response *answer_stream_response(struct answer_stream *stream,
                                            struct MHD_Connection *connection, int fd);

/* Nobody will read it. NULL is fine. */
void answer_stream_drop(struct answer_stream *stream);

#endif
