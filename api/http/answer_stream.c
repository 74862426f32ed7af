#include "api/http/answer_stream.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "api/http/exchange.h"
#include "api/http/thread_pool.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum { BLOCK_BYTES = 32 * 1024 };

struct answer_stream {
    struct answer_streams *streams;
    struct answer_source source;       /* used by who fills, alone */
    struct text_buffer next;           /* what was made; used by who fills while is_filling */
    struct text_buffer sending;        /* what is being sent, by the connection's thread alone */
    size_t sent;                       /* of it */
    struct MHD_Connection *connection; /* NULL: no response yet */
    int fd;                            /* its socket; -1: none yet */
    bool is_filling, has_next;
    bool is_last;      /* the source has nothing more */
    bool is_failed;    /* it ends here, short of its end */
    bool is_suspended; /* the connection */
    bool is_dropped;   /* while it was being filled: then who fills frees it */
    int64_t taken_ms;  /* when the connection took something last */
    struct answer_stream *prev, *following;
};

struct answer_streams {
    struct thread_pool *const *thread_pool;
    pthread_mutex_t mutex; /* guards what follows, and the streams */
    struct answer_stream *streams;
    size_t count, held_bytes;
    bool is_ended;
};

struct answer_streams *answer_streams_new(struct thread_pool *const *thread_pool)
{
    struct answer_streams *streams = calloc(1, sizeof *streams);
    if (streams == NULL)
        abort();
    streams->thread_pool = thread_pool;
    pthread_mutex_init(&streams->mutex, NULL);
    return streams;
}

void answer_streams_free(struct answer_streams *streams)
{
    if (streams == NULL)
        return;
    pthread_mutex_destroy(&streams->mutex);
    free(streams);
}

/* ---- Under the mutex ---- */

static void stream_resume(struct answer_stream *stream)
{
    if (!stream->is_suspended)
        return;
    stream->is_suspended = false;
    MHD_resume_connection(stream->connection);
}

/* The socket is still open: the server drops a stream before it closes that. A connection that
 * waits for its client to read is woken by the shutdown. */
static void stream_fail(struct answer_stream *stream)
{
    if (stream->is_failed)
        return;
    stream->is_failed = true;
    stream->streams->count--;
    stream->streams->held_bytes -= stream->source.held_bytes;
    if (stream->fd >= 0)
        shutdown(stream->fd, SHUT_RDWR);
    stream_resume(stream);
}

/* Is there room, or can there be some? */
static bool streams_have_room(const struct answer_streams *streams, size_t held_bytes)
{
    bool fits = streams->held_bytes + held_bytes <= ANSWER_STREAM_BYTES || streams->count == 0;
    return fits && streams->count < ANSWER_STREAM_MAX;
}

static void make_room(struct answer_streams *streams, size_t held_bytes)
{
    int64_t until_ms = clock_boot_ms() - ANSWER_STREAM_STALL_MS;
    while (!streams_have_room(streams, held_bytes)) {
        struct answer_stream *stream, *stalest = NULL;
        DL_FOREACH2 (streams->streams, stream, following)
            if (!stream->is_failed && stream->fd >= 0 && stream->taken_ms <= until_ms &&
                (stalest == NULL || stream->taken_ms < stalest->taken_ms))
                stalest = stream;
        if (stalest == NULL)
            return;
        log_info("a long answer is ended: its client does not read, and there are too many",
                 log_number("answers", (int64_t)streams->count));
        stream_fail(stalest);
    }
}

/* ---- Filling, on the thread pool ---- */

static void stream_free(struct answer_stream *stream)
{
    stream->source.release(stream->source.context);
    text_buffer_clear(&stream->next);
    text_buffer_clear(&stream->sending);
    free(stream);
}

/* Makes one part. */
static enum bw_code stream_fill(struct answer_stream *stream, bool *is_last, struct bw_error *error)
{
    const struct answer_source *source = &stream->source;
    enum bw_code code = BW_OK;
    *is_last = false;
    while (code == BW_OK && !*is_last && stream->next.length < ANSWER_PART_BYTES)
        code = source->produce(source->context, &stream->next, is_last, error);
    return code;
}

static void stream_fill_next(void *context)
{
    struct answer_stream *stream = context;
    struct answer_streams *streams = stream->streams;
    struct bw_error error = {""};
    bool is_last;
    enum bw_code code = stream_fill(stream, &is_last, &error);
    if (code != BW_OK)
        log_warning("a long answer is cut short", log_text("reason", error.message));
    pthread_mutex_lock(&streams->mutex);
    stream->is_filling = false;
    stream->is_last = is_last;
    stream->has_next = true;
    if (code != BW_OK)
        stream_fail(stream);
    stream_resume(stream);
    bool is_dropped = stream->is_dropped;
    pthread_mutex_unlock(&streams->mutex);
    if (is_dropped)
        stream_free(stream);
}

/* Under the mutex. */
static void stream_ask_for_next(struct answer_stream *stream)
{
    stream->is_filling = true;
    if (thread_pool_submit(*stream->streams->thread_pool, false, stream_fill_next, stream))
        return;
    stream->is_filling = false;
    stream_fail(stream);
}

/* ---- Sending, on the server's threads ---- */

/* Under the mutex: false if there is nothing to send now. */
static bool stream_take_next(struct answer_stream *stream)
{
    if (!stream->has_next)
        return false;
    struct text_buffer taken = stream->next;
    stream->next = stream->sending;
    text_buffer_reset(&stream->next, 4 * ANSWER_PART_BYTES);
    stream->sending = taken;
    stream->sent = 0;
    stream->has_next = false;
    stream->taken_ms = clock_boot_ms();
    if (!stream->is_last)
        stream_ask_for_next(stream);
    return true;
}

static ssize_t stream_read(struct answer_stream *stream, char *bytes, size_t room)
{
    if (stream->is_failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    bool has_more = stream->sent < stream->sending.length ||
                    (stream_take_next(stream) && stream->sending.length > 0);
    if (!has_more && stream->is_last)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!has_more) {
        stream->is_suspended = true;
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    size_t rest = stream->sending.length - stream->sent, length = rest < room ? rest : room;
    memcpy(bytes, stream->sending.bytes + stream->sent, length);
    stream->sent += length;
    stream->taken_ms = clock_boot_ms();
    return (ssize_t)length;
}

static ssize_t answer_stream_read_stream(void *context, uint64_t position, char *bytes, size_t room)
{
    struct answer_stream *stream = context;
    (void)position;
    pthread_mutex_lock(&stream->streams->mutex);
    ssize_t length = stream_read(stream, bytes, room);
    pthread_mutex_unlock(&stream->streams->mutex);
    return length;
}

static void answer_stream_drop_stream(void *context)
{
    answer_stream_drop(context);
}

struct MHD_Response *answer_stream_response(struct answer_stream *stream,
                                            struct MHD_Connection *connection, int fd)
{
    struct answer_streams *streams = stream->streams;
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, answer_stream_read_stream, stream,
        answer_stream_drop_stream);
    if (response == NULL) {
        answer_stream_drop(stream);
        return NULL;
    }
    pthread_mutex_lock(&streams->mutex);
    stream->connection = connection;
    stream->fd = fd;
    stream->taken_ms = clock_boot_ms();
    pthread_mutex_unlock(&streams->mutex);
    return response;
}

void answer_stream_drop(struct answer_stream *stream)
{
    if (stream == NULL)
        return;
    struct answer_streams *streams = stream->streams;
    pthread_mutex_lock(&streams->mutex);
    stream->fd = -1; /* it may be another's soon */
    stream->is_suspended = false;
    stream_fail(stream);
    DL_DELETE2(streams->streams, stream, prev, following);
    stream->is_dropped = true;
    bool is_filling = stream->is_filling;
    pthread_mutex_unlock(&streams->mutex);
    if (!is_filling)
        stream_free(stream);
}

void answer_streams_end(struct answer_streams *streams)
{
    struct answer_stream *stream;
    if (streams == NULL)
        return;
    pthread_mutex_lock(&streams->mutex);
    streams->is_ended = true;
    DL_FOREACH2 (streams->streams, stream, following)
        stream_fail(stream);
    pthread_mutex_unlock(&streams->mutex);
}

/* ---- Starting ---- */

/* Gives it a place. False: there is none. */
static bool stream_enter(struct answer_stream *stream)
{
    struct answer_streams *streams = stream->streams;
    size_t held_bytes = stream->source.held_bytes;
    pthread_mutex_lock(&streams->mutex);
    make_room(streams, held_bytes);
    bool has_room = !streams->is_ended && streams_have_room(streams, held_bytes);
    if (has_room) {
        DL_APPEND2(streams->streams, stream, prev, following);
        streams->count++;
        streams->held_bytes += held_bytes;
    }
    pthread_mutex_unlock(&streams->mutex);
    return has_room;
}

void answer_stream_send(struct answer_streams *streams, struct exchange *exchange,
                        const struct answer_source *source)
{
    static const struct bw_error busy = {"too many long answers are being sent: try again"};
    struct bw_error error = {""};
    struct answer_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        abort();
    stream->streams = streams;
    stream->source = *source;
    stream->fd = -1;
    enum bw_code code = stream_fill(stream, &stream->is_last, &error);
    stream->has_next = true;
    if (code != BW_OK) {
        stream_free(stream);
        exchange_refuse(exchange, code, &error);
    } else if (stream->is_last) {
        char *body = text_buffer_take(&stream->next);
        stream_free(stream);
        exchange_answer(exchange, 200, body, NULL);
    } else if (!stream_enter(stream)) {
        stream_free(stream);
        exchange_refuse(exchange, BW_UNAVAILABLE, &busy);
    } else {
        exchange_answer_long(exchange, stream);
    }
}

/* ---- A text ---- */

struct whole_text {
    char *text; /* own */
    size_t length, sent;
};

static enum bw_code produce_text(void *context, struct text_buffer *part, bool *is_last,
                                 struct bw_error *error)
{
    struct whole_text *whole = context;
    size_t rest = whole->length - whole->sent;
    size_t length = rest < ANSWER_PART_BYTES ? rest : ANSWER_PART_BYTES;
    (void)error;
    text_buffer_add(part, whole->text + whole->sent, length);
    whole->sent += length;
    *is_last = whole->sent == whole->length;
    return BW_OK;
}

static void release_text(void *context)
{
    struct whole_text *whole = context;
    free(whole->text);
    free(whole);
}

void answer_stream_send_text(struct answer_streams *streams, struct exchange *exchange, char *text)
{
    size_t length = text != NULL ? strlen(text) : 0;
    if (text == NULL) {
        exchange_refuse(exchange, BW_INTERNAL, NULL);
        return;
    }
    if (length <= ANSWER_PART_BYTES) {
        exchange_answer(exchange, 200, text, NULL);
        return;
    }
    struct whole_text *whole = calloc(1, sizeof *whole);
    if (whole == NULL)
        abort();
    *whole = (struct whole_text){.text = text, .length = length};
    answer_stream_send(streams, exchange,
                       &(struct answer_source){.produce = produce_text,
                                               .release = release_text,
                                               .context = whole,
                                               .held_bytes = length});
}
