/*
 * event_streams: the streams of server-sent events that are open at this replica. A stream costs no
 * thread: its connection sleeps until the scheduler tells of a change, or until it is time to show
 * that the stream lives (every 20 s). Each is a watch that the scheduler knows by its number; all
 * are announced again like polls.
 *
 * Callers: handlers (begin), the HTTP server (the reader), the scheduler's callbacks (take),
 * signals (list), shutdown (drain); one timer thread. Safe from any thread. A stream belongs to the
 * table until its response is freed, which is the one place where it ends.
 */
#ifndef API_GRADING_EVENT_STREAMS_H
#define API_GRADING_EVENT_STREAMS_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/signal_store.h"

struct event_streams;
struct event_stream;
struct signals;

struct event_streams_settings {
    struct signals *signals; /* borrowed */
    size_t most_connections; /* that the replica keeps */
    /* The run of a subject is over for the scheduler: what became of the subject is in the
     * database. Called without a lock; answers with event_streams_finish. */
    void (*over)(const char *subject, int64_t number, void *context);
    void *context;
};

/* BW_INTERNAL: no thread. */
enum bw_code event_streams_open(const struct event_streams_settings *settings,
                                struct event_streams **streams, struct bw_error *error) BW_CHECKED;
void event_streams_close(struct event_streams *streams); /* NULL is fine */

/* A stream of a job (by its id) or of a run of a course, not begun yet. `wants_all`: where it
 * stands is told at once. NULL: there are too many of this course (an eighth of
 * `most_connections`), or of all (three sixteenths). */
struct event_stream *event_stream_new(struct event_streams *streams, const char *course,
                                      const char *subject, bool wants_all);

/* What has happened already; NULL: it goes on, and the scheduler is told to watch. `last` is a
 * value of the event that ends it. */
void event_stream_begin(struct event_stream *stream, const char *last);

/* Nobody will read it. */
void event_stream_drop(struct event_stream *stream);

/* The response that sends it; takes the stream. NULL: memory is short, and the stream is dropped.
 */
struct MHD_Response *event_stream_response(struct event_stream *stream,
                                           struct MHD_Connection *connection);

/* What the scheduler says of a watch; unknown ones are ignored. */
void event_streams_take(struct event_streams *streams, int64_t number, const char *type,
                        const json_t *data);

/* Sends a last state, and ends the stream. */
void event_streams_finish(struct event_streams *streams, int64_t number, const char *state);

/* The client of a stream has gone: it ends. The number is that of event_stream_number, once begun.
 */
void event_streams_end(struct event_streams *streams, int64_t number);
int64_t event_stream_number(const struct event_stream *stream);

/* All that is watched; new, free(). */
struct signal_watch *event_streams_list(struct event_streams *streams, size_t *count);

/* Ends all of them; from now on a stream ends as it begins. */
void event_streams_drain(struct event_streams *streams);

size_t event_streams_count(struct event_streams *streams);

#endif
