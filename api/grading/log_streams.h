/*
 * log_streams: clients that follow the log of a job: streams of server-sent events. A thread looks
 * for news once a second while there is a stream, for all of them together: the leases and results
 * of their jobs, the sizes of their logs, and the chunks that are new, by their ids. So it doesn't
 * matter which replica the grader sends its chunks to, and a stream costs no thread.
 *
 * When the job has its result, the rest of the log comes from there, LOG_STREAM_REST_BYTES at most,
 * and the stream ends. Safe from any thread; a stream belongs to its response once it is sent.
 */
#ifndef API_GRADING_LOG_STREAMS_H
#define API_GRADING_LOG_STREAMS_H

#include <stddef.h>

#include "common/base/error.h"
#include "common/store/log_chunk_store.h"

struct api;
struct exchange;
struct log_streams;

enum {
    LOG_STREAMS_MAX = 256,
    LOG_STREAMS_SHARE = LOG_STREAMS_MAX / 4, /* those of one course, or of one client without a
                                                course: its token, or its address */
    LOG_STREAMS_CLASSIC = LOG_STREAMS_MAX - LOG_STREAMS_SHARE, /* those without a course */
    LOG_STREAM_ROOM_BYTES = 256 * 1024, /* no chunk is read for a client that has more to read */
    LOG_STREAM_REST_BYTES = 512 * 1024
};

/* Starts the thread; it borrows `api` until the close. BW_INTERNAL. */
enum bw_code log_streams_open(struct api *api, struct log_streams **streams, struct bw_error *error)
    BW_CHECKED;

/* Ends the thread. No stream may be left. NULL is allowed. */
void log_streams_close(struct log_streams *streams);

/* Ends all streams, and later ones at once: their clients come again, to another replica. */
void log_streams_drain(struct log_streams *streams);

/* The number of streams. */
size_t log_streams_count(struct log_streams *streams);

/* Answers with a stream of the log `place` names, whose attempt is not known yet; it goes on from
 * the request's Last-Event-ID, if it has one. BW_BAD_REQUEST, BW_TOO_MANY, BW_UNAVAILABLE. Waits
 * for the database. */
enum bw_code log_stream_send(struct api *api, struct exchange *exchange,
                             const struct log_place *place, struct bw_error *error) BW_CHECKED;

#endif
