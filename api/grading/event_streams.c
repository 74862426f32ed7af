#include "api/grading/event_streams.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#include "api/uplink/signals.h"
#include "api/http/event_response.h"
#include "common/base/alloc.h"
#include "common/base/json_write.h"
#include "common/base/clock.h"
#include "common/base/ticker.h"

enum {
    KEEP_ALIVE_MS = 20000,
    SCAN_MS = 1000,
    QUEUED_MAX = 256, /* pieces that are queued for a client that does not read; then its stream
                         ends, and it reconnects */
    BLOCK_BYTES = 1024
};

/* A piece of a stream: an event, or a keep-alive. */
struct piece {
    char *text; /* own */
    struct piece *next;
};

/* The number of a course's streams. */
struct stream_course {
    size_t count;
    UT_hash_handle hh;
    char name[]; /* key */
};

struct event_stream {
    struct event_streams *streams;
    struct stream_course *course;
    int64_t number; /* key; 0: not begun */
    char subject[JOB_ID_SIZE];
    int64_t last; /* the last event that the client got, as signal_watch.last */
    struct MHD_Connection *connection;
    struct piece *first, **tail;
    unsigned queued;
    bool is_suspended, is_over;
    int64_t sent_ms;
    UT_hash_handle hh;
};

struct event_streams {
    struct event_streams_settings settings;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows, and the streams */
    struct event_stream *streams;
    struct stream_course *courses;
    size_t count; /* including streams that have not begun */
    int64_t last_number;
    bool is_draining;
};

/* ---- Under the mutex ---- */

static void event_stream_resume(struct event_stream *stream)
{
    if (!stream->is_suspended)
        return;
    stream->is_suspended = false;
    MHD_resume_connection(stream->connection);
}

/* Adds a piece; `text` is stolen. */
static void event_streams_append(struct event_stream *stream, char *text)
{
    struct piece *piece = bw_alloc(sizeof *piece);
    piece->text = text;
    *stream->tail = piece;
    stream->tail = &piece->next;
    stream->is_over = stream->is_over || ++stream->queued > QUEUED_MAX;
    stream->sent_ms = clock_boot_ms();
    event_stream_resume(stream);
}

/* Adds an event; `data` is stolen. Clients match the spacing of the JSON text. */
static void event_stream_append_event(struct event_stream *stream, const char *type, json_t *data)
{
    json_auto_t *event = json_pack("{s:s,s:o}", "type", type, "data", data);
    char *json = json_write(event, 0);
    event_streams_append(stream, bw_format("event: status_update\ndata: %s\n\n", json));
    free(json);
}

static void event_stream_append_state(struct event_stream *stream, const char *state)
{
    event_stream_append_event(stream, "state", json_string(state));
}

static void event_stream_finish(struct event_stream *stream)
{
    stream->is_over = true;
    event_stream_resume(stream);
}

static struct event_stream *event_streams_find(struct event_streams *streams, int64_t number)
{
    struct event_stream *stream;
    HASH_FIND(hh, streams->streams, &number, sizeof number, stream);
    return stream;
}

static void event_stream_free(struct event_stream *stream)
{
    while (stream->first != NULL) {
        struct piece *piece = stream->first;
        stream->first = piece->next;
        free(piece->text);
        free(piece);
    }
    free(stream);
}

/* ---- Begin and end of a stream ---- */

/* Counts one more stream of the course. NULL: there are too many. */
static struct stream_course *stream_course_join(struct event_streams *streams, const char *name)
{
    size_t most = streams->settings.most_connections;
    struct stream_course *course;
    HASH_FIND_STR(streams->courses, name, course);
    if (streams->count >= most / 16 * 3 || (course != NULL && course->count >= most / 8))
        return NULL;
    if (course == NULL) {
        course = bw_alloc(sizeof *course + strlen(name) + 1);
        memcpy(course->name, name, strlen(name) + 1);
        HASH_ADD_STR(streams->courses, name, course);
    }
    course->count++;
    streams->count++;
    return course;
}

static void stream_course_leave(struct event_streams *streams, struct stream_course *course)
{
    streams->count--;
    if (--course->count > 0)
        return;
    HASH_DELETE(hh, streams->courses, course);
    free(course);
}

struct event_stream *event_stream_new(struct event_streams *streams, const char *course,
                                      const char *subject, bool wants_all)
{
    struct event_stream *stream = bw_alloc(sizeof *stream);
    stream->streams = streams;
    stream->tail = &stream->first;
    stream->last = wants_all ? WATCH_WANTS_ALL : WATCH_NOTIFIED_NOTHING;
    stream->sent_ms = clock_boot_ms();
    snprintf(stream->subject, sizeof stream->subject, "%s", subject);
    pthread_mutex_lock(&streams->mutex);
    stream->course = stream_course_join(streams, course);
    pthread_mutex_unlock(&streams->mutex);
    if (stream->course != NULL)
        return stream;
    free(stream);
    return NULL;
}

void event_stream_begin(struct event_stream *stream, const char *last)
{
    struct event_streams *streams = stream->streams;
    pthread_mutex_lock(&streams->mutex);
    stream->number = ++streams->last_number;
    HASH_ADD(hh, streams->streams, number, sizeof stream->number, stream);
    if (last != NULL)
        event_stream_append_state(stream, last);
    stream->is_over = last != NULL || streams->is_draining;
    if (!stream->is_over) {
        struct signal_watch watch = {.number = stream->number, .last = stream->last};
        snprintf(watch.subject, sizeof watch.subject, "%s", stream->subject);
        signals_watch(streams->settings.signals, &watch);
    }
    pthread_mutex_unlock(&streams->mutex);
}

/* Frees a stream that is not read any more. */
static void event_stream_drop(void *context)
{
    struct event_stream *stream = context;
    struct event_streams *streams = stream->streams;
    pthread_mutex_lock(&streams->mutex);
    if (stream->number != 0) {
        HASH_DELETE(hh, streams->streams, stream);
        signals_unwatch(streams->settings.signals, stream->number);
    }
    stream_course_leave(streams, stream->course);
    pthread_mutex_unlock(&streams->mutex);
    event_stream_free(stream);
}

/* ---- Sending, on the server's threads ---- */

static ssize_t take_piece(struct event_stream *stream, char *bytes, size_t room)
{
    struct piece *piece = stream->first;
    size_t length = strlen(piece->text);
    if (length > room)
        return MHD_CONTENT_READER_END_WITH_ERROR; /* can't happen: pieces are shorter than
                                                     BLOCK_BYTES */
    memcpy(bytes, piece->text, length);
    stream->first = piece->next;
    if (stream->first == NULL)
        stream->tail = &stream->first;
    stream->queued--;
    free(piece->text);
    free(piece);
    return (ssize_t)length;
}

static ssize_t event_streams_read_stream(void *context, uint64_t position, char *bytes, size_t room)
{
    struct event_stream *stream = context;
    ssize_t length = 0;
    (void)position;
    pthread_mutex_lock(&stream->streams->mutex);
    if (stream->first != NULL) {
        length = take_piece(stream, bytes, room);
    } else if (stream->is_over) {
        length = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->is_suspended = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&stream->streams->mutex);
    return length;
}

static struct MHD_Response *event_stream_response(void *context, struct MHD_Connection *connection,
                                                  int fd)
{
    struct event_stream *stream = context;
    (void)fd;
    stream->connection = connection;
    return event_response_new(BLOCK_BYTES, event_streams_read_stream, stream, event_stream_drop);
}

/* ---- Events of the scheduler ---- */

static void take_position(struct event_stream *stream, const json_t *data)
{
    if (stream->last == json_integer_value(data))
        return; /* sent again by a new leader */
    stream->last = json_integer_value(data);
    event_stream_append_event(stream, "position", json_integer(stream->last));
}

static void take_started(struct event_stream *stream, const json_t *data)
{
    (void)data;
    if (stream->last == WATCH_NOTIFIED_STARTED)
        return;
    stream->last = WATCH_NOTIFIED_STARTED;
    event_stream_append_state(stream, "STARTED");
}

static void take_finished(struct event_stream *stream, const json_t *data)
{
    event_stream_append_state(stream, json_is_true(data) ? "FINISHED" : "FAILED");
    event_stream_finish(stream);
}

static void take_progress(struct event_stream *stream, const json_t *data)
{
    event_stream_append_event(stream, "progress", json_deep_copy(data));
}

static void take_paused(struct event_stream *stream, const json_t *data)
{
    event_stream_append_event(stream, "paused", json_deep_copy(data));
}

static void take_resumed(struct event_stream *stream, const json_t *data)
{
    event_stream_append_event(stream, "resumed", json_deep_copy(data));
}

static void take_estimate(struct event_stream *stream, const json_t *data)
{
    event_stream_append_event(stream, "estimate", json_deep_copy(data));
}

static void take_phase(struct event_stream *stream, const json_t *data)
{
    enum run_phase phase;
    const char *name = json_string_value(data);
    if (name == NULL || !run_phase_parse(name, &phase))
        return;
    event_stream_append_state(stream, stream->streams->settings.run_state(phase));
    if (run_phase_is_over(phase))
        event_stream_finish(stream);
}

static const struct event_kind {
    const char *type;
    void (*take)(struct event_stream *stream, const json_t *data);
} event_kinds[] = {
    {"position", take_position}, {"started", take_started},   {"finished", take_finished},
    {"progress", take_progress}, {"phase", take_phase},       {"paused", take_paused},
    {"resumed", take_resumed},   {"estimate", take_estimate},
};

void event_streams_take(struct event_streams *streams, int64_t number, const char *type,
                        const json_t *data)
{
    char subject[JOB_ID_SIZE] = "";
    bool is_over = type != NULL && strcmp(type, "over") == 0;
    pthread_mutex_lock(&streams->mutex);
    struct event_stream *stream = event_streams_find(streams, number);
    if (stream != NULL && !stream->is_over && type != NULL) {
        snprintf(subject, sizeof subject, "%s", stream->subject);
        for (size_t i = 0; i < sizeof event_kinds / sizeof *event_kinds; i++)
            if (strcmp(event_kinds[i].type, type) == 0)
                event_kinds[i].take(stream, data);
    }
    pthread_mutex_unlock(&streams->mutex);
    if (is_over && subject[0] != '\0')
        streams->settings.over(subject, number, streams->settings.context);
}

void event_streams_finish(struct event_streams *streams, int64_t number, const char *state)
{
    pthread_mutex_lock(&streams->mutex);
    struct event_stream *stream = event_streams_find(streams, number);
    if (stream != NULL && !stream->is_over) {
        event_stream_append_state(stream, state);
        event_stream_finish(stream);
    }
    pthread_mutex_unlock(&streams->mutex);
}

static void event_stream_gone(void *context, int64_t number)
{
    event_streams_end(context, number);
}

void event_stream_answer(struct event_stream *stream, struct exchange *exchange)
{
    exchange_answer_stream(exchange, &(struct exchange_stream){.stream = stream,
                                                               .response = event_stream_response,
                                                               .drop = event_stream_drop,
                                                               .gone = event_stream_gone,
                                                               .context = stream->streams,
                                                               .number = stream->number});
}

void event_streams_end(struct event_streams *streams, int64_t number)
{
    pthread_mutex_lock(&streams->mutex);
    struct event_stream *stream = event_streams_find(streams, number);
    if (stream != NULL)
        event_stream_finish(stream);
    pthread_mutex_unlock(&streams->mutex);
}

/* ---- All streams ---- */

struct signal_watch *event_streams_list(struct event_streams *streams, size_t *count)
{
    const struct event_stream *stream, *following;
    pthread_mutex_lock(&streams->mutex);
    struct signal_watch *list = bw_alloc_array(HASH_COUNT(streams->streams) + 1, sizeof *list);
    *count = 0;
    HASH_ITER (hh, streams->streams, stream, following) {
        if (stream->is_over)
            continue;
        struct signal_watch *watch = &list[(*count)++];
        watch->number = stream->number;
        watch->last = stream->last;
        snprintf(watch->subject, sizeof watch->subject, "%s", stream->subject);
    }
    pthread_mutex_unlock(&streams->mutex);
    return list;
}

void event_streams_drain(struct event_streams *streams)
{
    struct event_stream *stream, *following;
    pthread_mutex_lock(&streams->mutex);
    streams->is_draining = true;
    HASH_ITER (hh, streams->streams, stream, following)
        event_stream_finish(stream);
    pthread_mutex_unlock(&streams->mutex);
}

size_t event_streams_count(struct event_streams *streams)
{
    pthread_mutex_lock(&streams->mutex);
    size_t count = HASH_COUNT(streams->streams);
    pthread_mutex_unlock(&streams->mutex);
    return count;
}

/* Sends keep-alives, which also detect clients that have disconnected. */
static void event_streams_keep_alive(struct event_streams *streams, int64_t now_ms)
{
    struct event_stream *stream, *following;
    HASH_ITER (hh, streams->streams, stream, following) {
        if (stream->is_over || now_ms - stream->sent_ms < KEEP_ALIVE_MS)
            continue;
        char *line = bw_copy(":\n\n");
        event_streams_append(stream, line);
    }
}

static int64_t event_streams_tick(void *context)
{
    struct event_streams *streams = context;
    pthread_mutex_lock(&streams->mutex);
    event_streams_keep_alive(streams, clock_boot_ms());
    pthread_mutex_unlock(&streams->mutex);
    return SCAN_MS;
}

enum bw_code event_streams_open(const struct event_streams_settings *settings,
                                struct event_streams **streams, struct bw_error *error)
{
    struct event_streams *opened = bw_alloc(sizeof *opened);
    opened->settings = *settings;
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = ticker_open("the event streams", SCAN_MS, event_streams_tick, opened,
                                    &opened->ticker, error);
    if (code != BW_OK) {
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return code;
    }
    *streams = opened;
    return BW_OK;
}

void event_streams_close(struct event_streams *streams)
{
    if (streams == NULL)
        return;
    event_streams_drain(streams);
    ticker_close(streams->ticker);
    pthread_mutex_destroy(&streams->mutex);
    free(streams);
}
