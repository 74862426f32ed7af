/*
 * event_streams: the streams of server-sent events that are open at this replica, and the text of
 * the events (table `event_kinds`): the scheduler decides what is sent (rules/watch_notify.h). A
 * stream costs no thread: its connection is suspended until an event of the scheduler, or the next
 * keep-alive (every 20 s). Each stream is a watch, which the scheduler knows by its number. A full
 * resync lists all watches.
 *
 * Callers: handlers (begin, answer), the HTTP server (the reader), callback_handler (take), signals
 * (list), shutdown (drain). One timer thread. Safe from any thread; no function waits. The table
 * owns a stream until its response is freed, which is the only place where a stream is freed.
 */
#ifndef API_GRADING_EVENT_STREAMS_H
#define API_GRADING_EVENT_STREAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/exchange.h"
#include "common/base/error.h"
#include "common/domain/run.h"
#include "common/store/signal_store.h"

struct event_streams;
struct event_stream;
struct signals;

struct event_streams_settings {
    struct signals *signals; /* borrowed */
    size_t most_connections; /* connections that the replica keeps */
    /* The scheduler no longer has the subject's run: its final state is in the database. Called
     * with no lock held. The callback must call event_streams_finish or event_streams_end, now or
     * later. */
    void (*over)(const char *subject, int64_t number, void *context);
    /* The text of a run's phase in the protocol of these streams. Static. */
    const char *(*run_state)(enum run_phase phase);
    void *context;
};

/* Creates *streams, and starts the timer thread. `settings` are copied. BW_INTERNAL: no thread. */
enum bw_code event_streams_open(const struct event_streams_settings *settings,
                                struct event_streams **streams, struct bw_error *error) BW_CHECKED;
void event_streams_close(struct event_streams *streams); /* NULL is allowed */

/* A new stream of a job or a run (`subject`: its id) of a course, not begun yet. `wants_all`: the
 * current state is sent at once. NULL: too many streams are open for this course (an eighth of
 * `most_connections`), or in all (three sixteenths). */
struct event_stream *event_stream_new(struct event_streams *streams, const char *course,
                                      const char *subject, bool wants_all);

/* Begins the stream. `last`: the final state, if the subject is over, which ends the stream; NULL:
 * the subject is not over, and the scheduler is asked to watch it. */
void event_stream_begin(struct event_stream *stream, const char *last);

/* Answers the exchange with the stream, which has begun. The stream is taken. */
void event_stream_answer(struct event_stream *stream, struct exchange *exchange);

/* Handles an event of a watch. Unknown watches and types are ignored. `data` is borrowed. */
void event_streams_take(struct event_streams *streams, int64_t number, const char *type,
                        const json_t *data);

/* Sends a final state, and ends the stream. */
void event_streams_finish(struct event_streams *streams, int64_t number, const char *state);

/* Ends the stream of this number, if it is open. Its client has disconnected, or will reconnect. */
void event_streams_end(struct event_streams *streams, int64_t number);

/* The watches of all streams; new, free(). *count is their number. */
struct signal_watch *event_streams_list(struct event_streams *streams, size_t *count);

/* Ends all streams; from now on event_stream_begin ends a stream at once. */
void event_streams_drain(struct event_streams *streams);

/* The number of streams that have begun and are not freed yet. */
size_t event_streams_count(struct event_streams *streams);

#endif
