/*
 * log_chunk_store: collection log_chunks: what graders send of a job's stdout and stderr while the
 * job runs. A chunk's _id is "<job id>.<attempt>/<stream>/<offset>", so a repeated chunk is a
 * duplicate. "<job id>.<attempt>/<stream>" is the stream's end: its size so far. The chunks are
 * hints: the whole log comes with the result (common/store/log_store.h). They are written without
 * waiting for a majority of the database's servers, and TTL removes what nothing else has removed.
 *
 * Bounded per stream by max_bytes, where each chunk counts as LOG_CHUNK_COST bytes at least: the
 * chunks of the first quarter stay; of the others the oldest are removed. Safe from any thread.
 */
#ifndef COMMON_STORE_LOG_CHUNK_STORE_H
#define COMMON_STORE_LOG_CHUNK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/db/database.h"

struct log_chunk_store;

enum {
    LOG_CHUNK_BYTES = 64 * 1024, /* the longest chunk */
    LOG_CHUNK_COST = 1024,
    LOG_CHUNK_FIND_MAX = 64 /* chunks that are found by one call */
};

/* The largest size of a stream. */
#define LOG_STREAM_MAX INT64_C(1000000000000)

enum log_stream { LOG_STDOUT, LOG_STDERR };

/* "stdout", "stderr". Static. */
const char *log_stream_name(enum log_stream stream);

/* The stream of that name. False: there is none. */
bool log_stream_parse(const char *name, enum log_stream *stream);

/* A stream of one attempt of a job. */
struct log_place {
    char job[JOB_ID_SIZE];
    uint32_t attempt; /* from 1 */
    enum log_stream stream;
};

struct log_chunk {
    int64_t offset; /* in bytes of the stream */
    const char *bytes;
    size_t length; /* 1 to LOG_CHUNK_BYTES */
};

/* Opens the store; `database` must outlive it. Never fails. NULL may be closed. */
enum bw_code log_chunk_store_open(struct database *database, size_t max_bytes,
                                  struct log_chunk_store **store, struct bw_error *error)
    BW_CHECKED;
void log_chunk_store_close(struct log_chunk_store *store);

/* Adds a chunk: at the end of its stream, beyond it, which leaves a gap, or in a gap. The same
 * chunk again changes nothing. *size: of the stream. BW_CONFLICT: other bytes are there already;
 * BW_UNAVAILABLE. Waits. */
enum bw_code log_chunk_store_add(struct log_chunk_store *store, const struct log_place *place,
                                 const struct log_chunk *chunk, int64_t *size,
                                 struct bw_error *error) BW_CHECKED;

/* Reads the stream's chunks that start at `from` or later; `each` borrows (no order). */
enum bw_code log_chunk_store_read(struct log_chunk_store *store, const struct log_place *place,
                                  int64_t from,
                                  void (*each)(const struct log_chunk *chunk, void *context),
                                  void *context, struct bw_error *error) BW_CHECKED;

/* A stream that is followed: has it bytes from `offset` on? */
struct log_follow {
    struct log_place place;
    int64_t offset;
};

/* Reads the sizes of the streams of `count` follows; `each` is called (no order) with the index of
 * each whose stream has a chunk. */
enum bw_code log_chunk_store_sizes(struct log_chunk_store *store, const struct log_follow *follows,
                                   size_t count,
                                   void (*each)(size_t index, int64_t size, void *context),
                                   void *context, struct bw_error *error) BW_CHECKED;

/* Finds the chunks that start exactly at the offsets of `count` follows, LOG_CHUNK_FIND_MAX at
 * most; `each` borrows (no order). */
enum bw_code log_chunk_store_find(struct log_chunk_store *store, const struct log_follow *follows,
                                  size_t count,
                                  void (*each)(size_t index, const struct log_chunk *chunk,
                                               void *context),
                                  void *context, struct bw_error *error) BW_CHECKED;

/* The offset of the stream's first chunk at `follow`'s offset or behind it; -1: there is none. */
enum bw_code log_chunk_store_next(struct log_chunk_store *store, const struct log_follow *follow,
                                  int64_t *offset, struct bw_error *error) BW_CHECKED;

/* Removes all chunks of a job. May be repeated. */
enum bw_code log_chunk_store_remove(struct log_chunk_store *store, const char *job,
                                    struct bw_error *error) BW_CHECKED;

#endif
