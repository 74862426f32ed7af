/*
 * log_chunk_removal: removes the chunks of logs whose jobs have ended. A replica remembers the jobs
 * whose chunks it has taken, looks for their results every LOG_REMOVAL_EVERY_MS, and removes the
 * chunks once a result has been there for LOG_REMOVAL_DELAY_MS, so that those who follow a log have
 * read its last chunks. What a replica that dies leaves is removed by TTL
 * (common/store/log_chunk_store.h). Safe from any thread.
 */
#ifndef API_GRADING_LOG_CHUNK_REMOVAL_H
#define API_GRADING_LOG_CHUNK_REMOVAL_H

#include "common/base/error.h"

struct log_chunk_removal;
struct log_chunk_store;
struct result_store;

enum {
    LOG_REMOVAL_EVERY_MS = 10 * 1000,
    LOG_REMOVAL_DELAY_MS = 20 * 1000,
    LOG_REMOVAL_MAX = 100 *
                      1000, /* jobs that are remembered; the chunks of others are left to TTL */
    LOG_REMOVAL_FORGET_MS = 24 * 3600 * 1000
};

/* Starts its thread, which sleeps while no job is remembered. Borrows the stores until the close.
 * BW_INTERNAL. */
enum bw_code log_chunk_removal_open(struct log_chunk_store *chunks, struct result_store *results,
                                    struct log_chunk_removal **removal, struct bw_error *error)
    BW_CHECKED;

/* Ends the thread. NULL is allowed. */
void log_chunk_removal_close(struct log_chunk_removal *removal);

/* Chunks of this job were stored. */
void log_chunk_removal_note(struct log_chunk_removal *removal, const char *job);

#endif
