/*
 * change_stream: the scheduler's one change stream. A thread follows the whole database, filtered
 * to the changes that the scheduler needs, and posts typed events to the inbox in the database's
 * order. Any failure ends the stream with EVENT_STREAM_LOST: the core then recovers, which opens a
 * new one.
 */
#ifndef SCHEDULER_IO_CHANGE_STREAM_H
#define SCHEDULER_IO_CHANGE_STREAM_H

#include <stdint.h>

#include "common/db/database.h"
#include "scheduler/io/inbox.h"

struct change_stream;

/* Opens the stream and starts the thread: on BW_OK every write after this call is seen. Events
 * carry `generation`. `database` and `inbox` must outlive the stream. */
enum bw_code change_stream_open(struct database *database, struct inbox *inbox, int64_t generation,
                                struct change_stream **change_stream, struct bw_error *error)
    BW_CHECKED;

/* Ends the thread and closes the stream. May take as long as one wait of the stream (half a
 * second). NULL is allowed. */
void change_stream_close(struct change_stream *change_stream);

/* clock_boot_ms when the stream last answered, with or without an event. Any thread. */
int64_t change_stream_seen_ms(const struct change_stream *change_stream);

#endif
