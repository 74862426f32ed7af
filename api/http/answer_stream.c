#include "api/http/answer_stream.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <uthash.h>
#include <utlist.h>

#include "api/http/answer_caller.h"
#include "api/http/exchange.h"
#include "api/http/memory_budget.h"
#include "api/http/thread_pool.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json_write.h"
#include "common/base/log.h"

enum {
    BLOCK_BYTES = 32 * 1024,
    KEPT_BYTES = 4 * ANSWER_PART_BYTES, /* bytes of a buffer that are kept for the next part */
    TICK_MS = 1000,
    STUCK_MS = 60000 /* how long a part after the first one may wait for room */
};

/* A caller that has streams, by the key of answer_caller.h. */
struct answer_caller {
    char key[ANSWER_CALLER_SIZE];
    size_t streams, places, waiting;
    size_t held; /* bytes held by its streams as of the last streams_sum_up, without claims */
    bool moves;
    UT_hash_handle hh;
};

/* Measures how fast a client takes the bytes that are ready for it. */
struct answer_rate {
    int64_t since_ms; /* clock_boot_ms of the last count; 0: paused, since nothing is ready */
    int64_t spent_ms; /* time counted in this window */
    uint64_t begun;   /* bytes that the client had taken at the window's begin */
};

struct answer_stream {
    struct answer_streams *streams;
    struct answer_caller *caller; /* NULL: the stream is not listed */
    struct exchange *exchange;    /* NULL once it is answered */
    struct answer_source source;  /* used only by the filling thread */
    struct text_buffer next; /* the next part; used only by the filling thread while is_filling */
    struct text_buffer sending; /* the part that is being sent */
    size_t sent;                /* bytes of `sending` that were sent */
    uint64_t handed;            /* bytes that libmicrohttpd got, in all */
    struct answer_rate rate;
    size_t claimed,
        kept; /* bytes claimed for the part that is being made; bytes held by source and `next` */
    struct MHD_Connection *connection; /* NULL: no response yet */
    int fd;                            /* the connection's socket; -1: none yet */
    bool has_place;
    bool is_filling, has_next;
    bool is_waiting;   /* waits for room, to be filled */
    bool is_last;      /* the source is at its end */
    bool is_failed;    /* the answer is aborted */
    bool is_suspended; /* the connection is suspended */
    bool is_dropped;   /* dropped while being filled: the filling thread frees it */
    int64_t waits_since_ms;
    struct answer_stream *prev, *following;
    struct answer_stream *refused; /* next in a list of streams to be refused */
};

struct answer_streams {
    struct thread_pool *const *thread_pool;
    pthread_mutex_t mutex;         /* guards what follows, and the streams */
    struct answer_stream *streams; /* in this order, waiting streams come oldest first */
    struct answer_caller *callers;
    size_t places, waiting;
    size_t building; /* bytes for texts that are being built */
    size_t held;     /* bytes held by all, as of the last streams_sum_up */
    bool moves;      /* a stream or a text will release memory without further room */
    bool is_watched; /* the next streams_watch is scheduled */
    bool is_ended;
};

static const struct bw_error busy = {"too many long answers are being sent: try again"};

struct answer_streams *answer_streams_new(struct thread_pool *const *thread_pool)
{
    struct answer_streams *streams = bw_alloc(sizeof *streams);
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

/* ---- Accounting; under the mutex ---- */

static struct answer_caller *streams_find_caller(struct answer_streams *streams, const char *key)
{
    struct answer_caller *caller;
    HASH_FIND_STR(streams->callers, key, caller);
    if (caller != NULL)
        return caller;
    caller = bw_alloc(sizeof *caller);
    memcpy(caller->key, key, strlen(key) + 1);
    HASH_ADD_STR(streams->callers, key, caller);
    return caller;
}

static void stream_list(struct answer_stream *stream, const char *key)
{
    struct answer_streams *streams = stream->streams;
    stream->caller = streams_find_caller(streams, key);
    stream->caller->streams++;
    DL_APPEND2(streams->streams, stream, prev, following);
}

static void stream_leave_place(struct answer_stream *stream)
{
    if (!stream->has_place)
        return;
    stream->has_place = false;
    stream->streams->places--;
    stream->caller->places--;
}

static void stream_stop_waiting(struct answer_stream *stream)
{
    if (!stream->is_waiting)
        return;
    stream->is_waiting = false;
    stream->streams->waiting -= stream->exchange != NULL;
    stream->caller->waiting -= stream->exchange != NULL;
}

static void stream_unlist(struct answer_stream *stream)
{
    struct answer_streams *streams = stream->streams;
    struct answer_caller *caller = stream->caller;
    if (caller == NULL)
        return;
    stream_leave_place(stream);
    stream_stop_waiting(stream);
    DL_DELETE2(streams->streams, stream, prev, following);
    stream->caller = NULL;
    if (--caller->streams > 0)
        return;
    HASH_DEL(streams->callers, caller);
    free(caller);
}

/* Whether the stream will release memory without further room. */
static bool stream_moves(const struct answer_stream *stream)
{
    return stream->is_filling || stream->has_next || stream->sent < stream->sending.length;
}

static void streams_sum_up(struct answer_streams *streams)
{
    struct answer_stream *stream;
    DL_FOREACH2 (streams->streams, stream, following) {
        stream->caller->held = 0;
        stream->caller->moves = false;
    }
    streams->held = streams->building;
    streams->moves = streams->building > 0;
    DL_FOREACH2 (streams->streams, stream, following) {
        size_t held = stream->kept + stream->sending.size;
        bool moves = stream_moves(stream);
        streams->held += held + stream->claimed;
        streams->moves = streams->moves || moves;
        stream->caller->held += held;
        stream->caller->moves = stream->caller->moves || moves;
    }
}

/* The bytes to be claimed before the next part is made. */
static size_t stream_need(const struct answer_stream *stream)
{
    const struct answer_source *source = &stream->source;
    return (source->needed != NULL ? source->needed(source->context) : 0) + 2 * ANSWER_PART_BYTES;
}

static size_t stream_kept(const struct answer_stream *stream)
{
    const struct answer_source *source = &stream->source;
    return (source->held != NULL ? source->held(source->context) : 0) + stream->next.size;
}

/* Whether the stream's next part may be made now. After streams_sum_up. */
static bool stream_may_fill(const struct answer_stream *stream)
{
    const struct answer_streams *streams = stream->streams;
    bool fits = streams->held + stream_need(stream) <= ANSWER_STREAM_BYTES;
    bool is_fair = stream->caller->held < ANSWER_CALLER_BYTES;
    return (fits || !streams->moves) && (is_fair || !stream->caller->moves);
}

/* Whether the next part may be made while the previous one is still being sent. */
static bool stream_may_hurry(const struct answer_stream *stream)
{
    const struct answer_streams *streams = stream->streams;
    return streams->held + stream_need(stream) <= ANSWER_STREAM_BYTES / 2 &&
           stream->caller->held < ANSWER_CALLER_BYTES / 2;
}

/* ---- Suspending and ending a stream; under the mutex ---- */

static void rate_pause(struct answer_rate *rate)
{
    if (rate->since_ms != 0)
        rate->spent_ms += clock_boot_ms() - rate->since_ms;
    rate->since_ms = 0;
}

static void stream_resume(struct answer_stream *stream)
{
    if (!stream->is_suspended)
        return;
    stream->is_suspended = false;
    stream->rate.since_ms = clock_boot_ms();
    MHD_resume_connection(stream->connection);
}

/* Aborts the stream. Its socket is still open, since libmicrohttpd drops a stream before it closes
 * the socket. The shutdown wakes a connection that waits for its client to read. */
static void stream_fail(struct answer_stream *stream)
{
    if (stream->is_failed)
        return;
    stream->is_failed = true;
    stream_leave_place(stream);
    stream_stop_waiting(stream);
    text_buffer_clear(&stream->sending);
    stream->sent = 0;
    stream->has_next = false;
    if (stream->fd >= 0)
        shutdown(stream->fd, SHUT_RDWR);
    stream_resume(stream);
}

static void stream_free(struct answer_stream *stream)
{
    stream->source.release(stream->source.context);
    text_buffer_clear(&stream->next);
    text_buffer_clear(&stream->sending);
    free(stream);
}

/* ---- Waiting for room; under the mutex ---- */

static void stream_begin(void *context);
static void stream_fill_next(void *context);

static void stream_start_filling(struct answer_stream *stream)
{
    stream_stop_waiting(stream);
    stream->claimed = stream_need(stream);
    stream->is_filling = true;
}

/* Queues the making of a part on the thread pool. First parts are urgent, which the pool never
 * refuses, since the waiting exchange must be answered. */
static void stream_submit(struct answer_stream *stream)
{
    bool is_first = stream->exchange != NULL;
    stream_start_filling(stream);
    if (thread_pool_submit(*stream->streams->thread_pool, is_first,
                           is_first ? stream_begin : stream_fill_next, stream))
        return;
    stream->is_filling = false;
    stream->claimed = 0;
    stream_fail(stream);
}

static void stream_wait(struct answer_stream *stream)
{
    struct answer_streams *streams = stream->streams;
    stream->is_waiting = true;
    stream->waits_since_ms = clock_boot_ms();
    streams->waiting += stream->exchange != NULL;
    stream->caller->waiting += stream->exchange != NULL;
    DL_DELETE2(streams->streams, stream, prev, following);
    DL_APPEND2(streams->streams, stream, prev, following);
}

/* Continues waiting streams, the oldest first, as far as there is room. */
static void streams_serve(struct answer_streams *streams)
{
    struct answer_stream *stream;
    streams_sum_up(streams);
    for (stream = streams->streams; stream != NULL;) {
        struct answer_stream *following = stream->following;
        if (stream->is_waiting && stream_may_fill(stream)) {
            stream_submit(stream);
            streams_sum_up(streams);
        }
        stream = following;
    }
}

/* ---- Watching the clients ---- */

/* The bytes that the client has acknowledged. */
static uint64_t stream_taken(const struct answer_stream *stream)
{
    int queued = 0;
    if (ioctl(stream->fd, SIOCOUTQ, &queued) != 0 || queued < 0)
        queued = 0;
    return stream->handed > (uint64_t)queued ? stream->handed - (uint64_t)queued : 0;
}

static bool stream_is_slow(struct answer_stream *stream, int64_t now_ms)
{
    struct answer_rate *rate = &stream->rate;
    if (stream->fd < 0 || stream->is_failed || rate->since_ms == 0)
        return false;
    rate->spent_ms += now_ms - rate->since_ms;
    rate->since_ms = now_ms;
    if (rate->spent_ms < ANSWER_RATE_MS)
        return false;
    uint64_t taken = stream_taken(stream);
    bool is_slow = taken < rate->begun + (uint64_t)(ANSWER_RATE_BYTES / 1000.0 * ANSWER_RATE_MS);
    rate->begun = taken;
    rate->spent_ms = 0;
    return is_slow;
}

static bool stream_is_stuck(const struct answer_stream *stream, int64_t now_ms)
{
    return stream->is_waiting && now_ms - stream->waits_since_ms >=
                                     (stream->exchange != NULL ? ANSWER_WAIT_MS : STUCK_MS);
}

/* Removes the streams whose first part waits: those that have waited too long as of `now_ms`, or
 * all. Returns them as a list. */
static struct answer_stream *streams_take_refused(struct answer_streams *streams, int64_t now_ms,
                                                  bool takes_all)
{
    struct answer_stream *stream, *following, *refused = NULL;
    DL_FOREACH_SAFE2(streams->streams, stream, following, following)
    {
        bool is_first = stream->is_waiting && stream->exchange != NULL;
        if (!is_first || !(takes_all || stream_is_stuck(stream, now_ms)))
            continue;
        stream_unlist(stream);
        stream->refused = refused;
        refused = stream;
    }
    return refused;
}

static void streams_refuse(struct answer_stream *refused)
{
    while (refused != NULL) {
        struct answer_stream *stream = refused;
        struct exchange *exchange = stream->exchange;
        refused = stream->refused;
        stream_free(stream);
        exchange_refuse(exchange, BW_UNAVAILABLE, &busy);
    }
}

static void streams_watch(void *context);

/* Schedules streams_watch, while there are streams. Under the mutex. */
static void streams_plan_watch(struct answer_streams *streams)
{
    if (streams->is_watched || streams->is_ended || streams->streams == NULL)
        return;
    streams->is_watched = thread_pool_submit_later(*streams->thread_pool, true, TICK_MS,
                                                   streams_watch, streams);
}

/* Ends slow and stuck streams. Runs once a second, while there are streams. */
static void streams_watch(void *context)
{
    struct answer_streams *streams = context;
    struct answer_stream *stream;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&streams->mutex);
    streams->is_watched = false;
    DL_FOREACH2 (streams->streams, stream, following) {
        bool is_slow = stream_is_slow(stream, now_ms);
        if (!is_slow && (stream->exchange != NULL || !stream_is_stuck(stream, now_ms)))
            continue;
        log_info(is_slow ? "a long answer is ended: its client reads too slowly"
                         : "a long answer is ended: there is no room for its next part",
                 log_number("answers", (int64_t)streams->places));
        stream_fail(stream);
    }
    struct answer_stream *refused = streams_take_refused(streams, now_ms, false);
    streams_serve(streams);
    streams_plan_watch(streams);
    pthread_mutex_unlock(&streams->mutex);
    streams_refuse(refused);
}

/* ---- Filling, on the thread pool ---- */

/* Whether a part that is made since `begun_ms` is long enough. */
static bool stream_part_is_made(const struct answer_stream *stream, int64_t begun_ms)
{
    bool is_prompt = stream->source.is_prompt && stream->exchange != NULL;
    return stream->next.length >= ANSWER_PART_BYTES ||
           (is_prompt && stream->next.length > 0 && clock_boot_ms() - begun_ms >= ANSWER_PROMPT_MS);
}

/* Makes a part. */
static enum bw_code stream_fill(struct answer_stream *stream, bool *is_last, struct bw_error *error)
{
    const struct answer_source *source = &stream->source;
    int64_t begun_ms = clock_boot_ms();
    enum bw_code code = BW_OK;
    *is_last = false;
    while (code == BW_OK && !*is_last && !stream_part_is_made(stream, begun_ms))
        code = source->produce(source->context, &stream->next, is_last, error);
    if (stream->next.size > KEPT_BYTES)
        text_buffer_fit(&stream->next);
    return code;
}

/* Records that a part was made. Under the mutex. */
static void stream_note_filled(struct answer_stream *stream, bool is_last)
{
    stream->is_filling = false;
    stream->claimed = 0;
    stream->is_last = is_last;
    stream->has_next = !stream->is_failed;
    stream->kept = stream_kept(stream);
}

static void stream_fill_next(void *context)
{
    struct answer_stream *stream = context;
    struct answer_streams *streams = stream->streams;
    struct bw_error error = {""};
    bool is_last;
    enum bw_code code = stream_fill(stream, &is_last, &error);
    if (code != BW_OK)
        log_warning("long answer aborted", log_text("reason", error.message));
    pthread_mutex_lock(&streams->mutex);
    stream_note_filled(stream, is_last);
    if (code != BW_OK)
        stream_fail(stream);
    stream_resume(stream);
    bool is_dropped = stream->is_dropped;
    if (is_dropped)
        stream_unlist(stream);
    streams_serve(streams);
    pthread_mutex_unlock(&streams->mutex);
    if (is_dropped)
        stream_free(stream);
}

/* ---- Sending, on the server's threads, under the mutex ---- */

/* Requests the next part while this one is sent, if there is plenty of room. */
static void stream_hurry(struct answer_stream *stream)
{
    if (stream->is_last)
        return;
    streams_sum_up(stream->streams);
    if (stream_may_hurry(stream))
        stream_submit(stream);
}

/* Begins to send the next part. False: there is none yet. */
static bool stream_take_next(struct answer_stream *stream)
{
    if (!stream->has_next)
        return false;
    struct text_buffer taken = stream->next;
    stream->next = stream->sending;
    text_buffer_reset(&stream->next, KEPT_BYTES);
    stream->sending = taken;
    stream->sent = 0;
    stream->has_next = false;
    stream->kept = stream_kept(stream);
    stream_hurry(stream);
    return true;
}

/* libmicrohttpd has taken all of a part: most of its memory is released, and the next part is
 * requested. */
static void stream_end_part(struct answer_stream *stream)
{
    text_buffer_reset(&stream->sending, KEPT_BYTES);
    stream->sent = 0;
    if (!stream->is_last && !stream->has_next && !stream->is_filling)
        stream_wait(stream);
    streams_serve(stream->streams);
}

static ssize_t stream_read(struct answer_stream *stream, char *bytes, size_t room)
{
    if (stream->is_failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    bool has_more = stream->sent < stream->sending.length ||
                    (stream_take_next(stream) && stream->sending.length > 0);
    if (stream->is_failed) /* failed in stream_take_next: the part after that can't be made */
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!has_more && stream->is_last)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!has_more) {
        stream->is_suspended = true;
        rate_pause(&stream->rate);
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    size_t rest = stream->sending.length - stream->sent, length = rest < room ? rest : room;
    memcpy(bytes, stream->sending.bytes + stream->sent, length);
    stream->sent += length;
    stream->handed += length;
    if (length == rest)
        stream_end_part(stream);
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

/* Drops a stream that is not sent any more. */
static void answer_stream_drop(void *context)
{
    struct answer_stream *stream = context;
    struct answer_streams *streams = stream->streams;
    pthread_mutex_lock(&streams->mutex);
    stream->fd = -1; /* another connection may get this descriptor */
    stream->is_suspended = false;
    stream_fail(stream);
    stream->is_dropped = true;
    bool is_filling = stream->is_filling;
    if (!is_filling)
        stream_unlist(stream);
    streams_serve(streams);
    pthread_mutex_unlock(&streams->mutex);
    if (!is_filling)
        stream_free(stream);
}

static struct MHD_Response *answer_stream_response(void *context, struct MHD_Connection *connection,
                                                   int fd)
{
    struct answer_stream *stream = context;
    struct answer_streams *streams = stream->streams;
    struct MHD_Response *response = MHD_create_response_from_callback(
        stream->source.length > 0 ? stream->source.length : MHD_SIZE_UNKNOWN, BLOCK_BYTES,
        answer_stream_read_stream, stream, answer_stream_drop);
    if (response == NULL) {
        answer_stream_drop(stream);
        return NULL;
    }
    pthread_mutex_lock(&streams->mutex);
    stream->connection = connection;
    stream->fd = fd;
    stream->rate.since_ms = clock_boot_ms();
    pthread_mutex_unlock(&streams->mutex);
    return response;
}

void answer_streams_end(struct answer_streams *streams)
{
    struct answer_stream *stream;
    if (streams == NULL)
        return;
    pthread_mutex_lock(&streams->mutex);
    streams->is_ended = true;
    struct answer_stream *refused = streams_take_refused(streams, 0, true);
    DL_FOREACH2 (streams->streams, stream, following)
        stream_fail(stream);
    pthread_mutex_unlock(&streams->mutex);
    streams_refuse(refused);
}

/* ---- Starting ---- */

/* Only a token that was checked counts. */
void answer_stream_caller(const struct exchange *exchange, char key[ANSWER_CALLER_SIZE])
{
    bool has_token = exchange_memory_pool(exchange) == MEMORY_CLIENT;
    const char *header = has_token ? exchange_header(exchange, "Authorization") : NULL;
    if (header != NULL)
        answer_caller_of_token(header + strcspn(header, " "), key);
    else
        answer_caller_of_address(exchange_request(exchange)->address, key);
}

/* Gives a place to a stream whose first part is not the whole answer. False: there is no place.
 * Under the mutex. */
static bool stream_enter(struct answer_stream *stream, const char *key)
{
    struct answer_streams *streams = stream->streams;
    if (stream->caller == NULL)
        stream_list(stream, key);
    streams_sum_up(streams);
    struct answer_caller *caller = stream->caller;
    bool has_room = !streams->is_ended && !stream->is_failed &&
                    streams->places < ANSWER_STREAM_MAX && caller->places < ANSWER_STREAM_SHARE &&
                    streams->held <= ANSWER_STREAM_BYTES;
    if (!has_room)
        return false;
    stream->has_place = true;
    streams->places++;
    caller->places++;
    streams_plan_watch(streams);
    return true;
}

/* Answers the exchange, after the first part was made or has failed. */
static void stream_answer(struct answer_stream *stream, enum bw_code code, bool is_last,
                          const char *key, const struct bw_error *error)
{
    struct answer_streams *streams = stream->streams;
    struct exchange *exchange = stream->exchange;
    pthread_mutex_lock(&streams->mutex);
    stream_note_filled(stream, is_last);
    bool is_long = code == BW_OK && !is_last && stream_enter(stream, key);
    stream->exchange = NULL;
    if (!is_long)
        stream_unlist(stream);
    streams_serve(streams);
    pthread_mutex_unlock(&streams->mutex);
    if (is_long) {
        exchange_answer_stream(exchange,
                               &(struct exchange_stream){.stream = stream,
                                                         .response = answer_stream_response,
                                                         .drop = answer_stream_drop,
                                                         .is_json = true,
                                                         .type = stream->source.type});
        return;
    }
    char *body = code == BW_OK && is_last ? text_buffer_take(&stream->next) : NULL;
    const char *type = stream->source.type;
    stream_free(stream);
    if (body != NULL)
        exchange_answer(exchange, 200, body, type);
    else
        exchange_refuse(exchange, code != BW_OK ? code : BW_UNAVAILABLE,
                        code != BW_OK ? error : &busy);
}

/* Makes the first part of a stream that is listed already. */
static void stream_begin(void *context)
{
    struct answer_stream *stream = context;
    struct bw_error error = {""};
    bool is_last;
    enum bw_code code = stream_fill(stream, &is_last, &error);
    stream_answer(stream, code, is_last, NULL, &error);
}

/* Lists a stream whose first part needs much memory. */
enum stream_turn { STREAM_NOW, STREAM_LATER, STREAM_REFUSED };

static enum stream_turn stream_queue(struct answer_stream *stream, const char *key)
{
    struct answer_streams *streams = stream->streams;
    stream->kept = stream_kept(stream);
    stream_list(stream, key);
    streams_sum_up(streams);
    bool is_full = streams->is_ended || streams->waiting >= ANSWER_WAITING_MAX ||
                   stream->caller->waiting >= ANSWER_WAITING_SHARE ||
                   (streams->held > ANSWER_STREAM_BYTES && streams->moves);
    if (is_full) {
        stream_unlist(stream);
        return STREAM_REFUSED;
    }
    streams_plan_watch(streams);
    if (streams->waiting > 0 || !stream_may_fill(stream)) {
        stream_wait(stream);
        return STREAM_LATER;
    }
    stream_start_filling(stream);
    return STREAM_NOW;
}

/* Makes the first part of such a stream now, or lets it wait for room, or refuses it. */
static void stream_begin_in_turn(struct answer_stream *stream, const char *key)
{
    struct answer_streams *streams = stream->streams;
    struct exchange *exchange = stream->exchange;
    pthread_mutex_lock(&streams->mutex);
    enum stream_turn turn = stream_queue(stream, key);
    pthread_mutex_unlock(&streams->mutex);
    if (turn == STREAM_NOW)
        stream_begin(stream);
    if (turn != STREAM_REFUSED)
        return;
    stream_free(stream);
    exchange_refuse(exchange, BW_UNAVAILABLE, &busy);
}

void answer_stream_send(struct answer_streams *streams, struct exchange *exchange,
                        const struct answer_source *source)
{
    struct bw_error error = {""};
    char key[ANSWER_CALLER_SIZE];
    bool is_last;
    struct answer_stream *stream = bw_alloc(sizeof *stream);
    stream->streams = streams;
    stream->exchange = exchange;
    stream->source = *source;
    stream->fd = -1;
    answer_stream_caller(exchange, key);
    if (source->needed != NULL && source->needed(source->context) > 0) {
        stream_begin_in_turn(stream, key);
        return;
    }
    enum bw_code code = stream_fill(stream, &is_last, &error);
    stream_answer(stream, code, is_last, key, &error);
}

/* ---- A text as a source ---- */

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

static size_t hold_text(const void *context)
{
    const struct whole_text *whole = context;
    return whole->length;
}

static void answer_stream_send_text(struct answer_streams *streams, struct exchange *exchange,
                                    char *text, size_t length)
{
    struct whole_text *whole = bw_alloc(sizeof *whole);
    *whole = (struct whole_text){.text = text, .length = length};
    answer_stream_send(
        streams, exchange,
        &(struct answer_source){
            .produce = produce_text, .release = release_text, .held = hold_text, .context = whole});
}

/* Claims the memory of a text that is to be built. False: there is no room. */
static bool streams_claim_text(struct answer_streams *streams, size_t bytes)
{
    pthread_mutex_lock(&streams->mutex);
    streams_sum_up(streams);
    bool fits = streams->held + bytes <= ANSWER_STREAM_BYTES;
    streams->building += fits ? bytes : 0;
    pthread_mutex_unlock(&streams->mutex);
    return fits;
}

static void streams_release_text(struct answer_streams *streams, size_t bytes)
{
    pthread_mutex_lock(&streams->mutex);
    streams->building -= bytes;
    streams_serve(streams);
    pthread_mutex_unlock(&streams->mutex);
}

/* Builds the text; NULL: out of memory. */
static char *stream_build_text(const char *before, const json_t *value, const char *after,
                               size_t *length)
{
    struct text_buffer text = {NULL};
    char *written = json_write(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (written == NULL)
        return NULL;
    text_buffer_add_text(&text, before);
    text_buffer_add_text(&text, written);
    text_buffer_add_text(&text, after);
    free(written);
    *length = text.length;
    return text_buffer_take(&text);
}

/* Sends a text that was built with this claim. The text is taken. */
static void send_claimed(struct answer_streams *streams, struct exchange *exchange, size_t claim,
                         char *text, size_t length)
{
    /* From here on the text is counted as the answer's. */
    if (claim > 0)
        streams_release_text(streams, claim);
    if (text == NULL)
        exchange_refuse(exchange, BW_INTERNAL, NULL);
    else if (claim == 0)
        exchange_answer(exchange, 200, text, NULL);
    else
        answer_stream_send_text(streams, exchange, text, length);
}

void answer_stream_send_written(struct answer_streams *streams, struct exchange *exchange,
                                const char *before, const char *written, const char *after)
{
    size_t length = strlen(before) + strlen(written) + strlen(after);
    size_t claim = length > ANSWER_PART_BYTES ? length : 0;
    if (claim > 0 && !streams_claim_text(streams, claim)) {
        exchange_refuse(exchange, BW_UNAVAILABLE, &busy);
        return;
    }
    send_claimed(streams, exchange, claim, bw_format("%s%s%s", before, written, after), length);
}

void answer_stream_send_json(struct answer_streams *streams, struct exchange *exchange,
                             const char *before, const json_t *value, const char *after)
{
    size_t length = json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    size_t claim = length > ANSWER_PART_BYTES ? 4 * length : 0; /* buffers grow by doubling */
    if (claim > 0 && !streams_claim_text(streams, claim)) {
        exchange_refuse(exchange, BW_UNAVAILABLE, &busy);
        return;
    }
    char *text = stream_build_text(before, value, after, &length);
    send_claimed(streams, exchange, claim, text, length);
}
