/*
 * answer_stream: sends an answer that is too long to be built as a whole. It is made part by part,
 * while its connection sends the previous part.
 *
 * A source makes the parts, in order, on a thread of the thread pool, where it may wait for the
 * database. At most two parts are in memory: the one that is being sent and the next one. The next
 * part is made early only while little memory is used. A client that reads slowly holds memory for
 * its parts, and no thread. If a part can't be made, the connection is closed before the answer's
 * end. The client recognises the incomplete answer by the missing last chunk, and by the incomplete
 * JSON.
 *
 * Three limits apply:
 * - Places: at most ANSWER_STREAM_MAX answers are sent at a time, and ANSWER_STREAM_SHARE of one
 *   caller. A caller is a token, or, without one, an address (for IPv6, its /64). More answers are
 *   refused.
 * - Memory: at most ANSWER_STREAM_BYTES are held by parts, by sources, and by the memory that
 *   making a part needs, which is claimed before. A part waits until there is room; if its caller
 *   holds ANSWER_CALLER_BYTES, until it holds less. An answer whose first part waits longer than
 *   ANSWER_WAIT_MS is refused. If nothing else would release memory, one part is always made, so
 *   that no part waits forever.
 * - Time: a client that takes less than ANSWER_RATE_BYTES a second, on average over ANSWER_RATE_MS,
 *   loses its connection. Bytes count when the client's system has acknowledged them. Time counts
 *   while there is something to send.
 *
 * Callers: handlers on the thread pool (send), shutdown (end); the HTTP server sends the stream
 * (struct exchange_stream). Safe from any thread. The exchange owns a stream until the response is
 * made, then the response owns it.
 */
#ifndef API_HTTP_ANSWER_STREAM_H
#define API_HTTP_ANSWER_STREAM_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/http/answer_caller.h"
#include "common/base/error.h"
#include "common/base/text_buffer.h"

struct answer_stream;
struct answer_streams;
struct exchange;
struct thread_pool;

enum {
    ANSWER_PART_BYTES = 128 * 1024, /* least length of a part, unless it is the last one */
    ANSWER_PROMPT_MS = 30, /* of a prompt answer: how long its first part is made at least */
    ANSWER_STREAM_MAX = 64,
    ANSWER_STREAM_SHARE = ANSWER_STREAM_MAX / 4,
    ANSWER_STREAM_BYTES = 128 * 1024 * 1024,
    ANSWER_CALLER_BYTES = ANSWER_STREAM_BYTES / 4,
    ANSWER_WAITING_MAX = 1024, /* limit of first parts that wait for room */
    ANSWER_WAITING_SHARE = ANSWER_WAITING_MAX / 4,
    ANSWER_WAIT_MS = 10000,
    ANSWER_RATE_BYTES = 16 * 1024,
    ANSWER_RATE_MS = 10000
};

/* The source of an answer. Its functions are never called by two threads at a time. */
struct answer_source {
    /* Appends the next piece to `part`: a small one, or all of a text that has to be in memory as a
     * whole anyway. *is_last: the answer is complete. Any code but BW_OK ends the answer. */
    enum bw_code (*produce)(void *context, struct text_buffer *part, bool *is_last,
                            struct bw_error *error);
    /* Frees the context. Called once. */
    void (*release)(void *context);
    /* The bytes that the source holds for this answer. NULL: few. */
    size_t (*held)(const void *context);
    /* The bytes that making the next part needs temporarily, at most. NULL: few. */
    size_t (*needed)(const void *context);
    void *context;
    /* For bytes of any kind, more than a part: their number, and their Content-Type (static). 0 and
     * NULL: JSON text, whose length is not known before. Other text has a type alone. */
    uint64_t length;
    const char *type;
    /* The first part is sent once it was made for ANSWER_PROMPT_MS, however short it is. */
    bool is_prompt;
};

/* Returns new streams, never NULL. `thread_pool` points to where the thread pool's pointer will be
 * stored: the pool is opened later, and closed after the last answer. */
struct answer_streams *answer_streams_new(struct thread_pool *const *thread_pool);
void answer_streams_free(struct answer_streams *streams); /* NULL is allowed */

/* Writes the key of the request's caller: of its token, or, without one, of its address. */
void answer_stream_caller(const struct exchange *exchange, char key[ANSWER_CALLER_SIZE]);

/* Ends the answers that are being sent, and refuses those that wait and all later ones. */
void answer_streams_end(struct answer_streams *streams);

/* Answers the exchange with the parts that `source`, which is taken, makes. The first part is made
 * in this call, or later if there is no room yet. If the first part is the whole answer, an
 * ordinary answer is sent. If it can't be made, the exchange is refused. */
void answer_stream_send(struct answer_streams *streams, struct exchange *exchange,
                        const struct answer_source *source);

/* Answers with `before`, `value` (borrowed) as compact JSON, and `after`. A long text is counted
 * before it is built, and sent by answer_stream_send; if there is no room, the exchange is
 * refused. */
void answer_stream_send_json(struct answer_streams *streams, struct exchange *exchange,
                             const char *before, const json_t *value, const char *after);

/* The same for a value that is JSON text already; borrowed. */
void answer_stream_send_written(struct answer_streams *streams, struct exchange *exchange,
                                const char *before, const char *written, const char *after);

#endif
