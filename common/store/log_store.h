/*
 * log_store: collection job_logs: stdout and stderr of a job, _id "<job id>.<digest>", written
 * before the result that names the digest. Apart from the results, so that the change stream never
 * carries them. Safe from any thread.
 */
#ifndef COMMON_STORE_LOG_STORE_H
#define COMMON_STORE_LOG_STORE_H

#include "common/base/text_cut.h"
#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/store/result_store.h"

struct log_store;

/* Where a log's texts were cut. */
struct log_cuts {
    struct text_cut_place out, err;
};

struct log_commit {
    struct commit_item item; /* first; private to the store */
    char job[JOB_ID_SIZE];
    char digest[DIGEST_SIZE];
    const char *out, *err; /* UTF-8, borrowed only during log_store_insert */
    size_t out_length, err_length;
    struct log_cuts cuts; /* by the grader */
    /* Called once from the store's thread. An existing log is COMMIT_DONE. */
    void (*completed)(struct log_commit *commit, enum commit_outcome outcome);
    void *context;
};

/* Opens the store; `database` must outlive it. BW_INTERNAL: its thread can't be started. The close
 * completes submitted inserts; NULL is allowed. */
enum bw_code log_store_open(struct database *database, size_t max_bytes, struct log_store **store,
                            struct bw_error *error) BW_CHECKED;
void log_store_close(struct log_store *store);

/* A log's name: the parts of its _id. */
struct log_name {
    char job[JOB_ID_SIZE];
    char digest[DIGEST_SIZE];
};

/* The names of all logs; `each` borrows. Scans the collection. */
enum bw_code log_store_each(struct log_store *store,
                            void (*each)(const struct log_name *name, void *context), void *context,
                            struct bw_error *error) BW_CHECKED;

/* Deletes `count` logs. May be repeated. */
enum bw_code log_store_delete(struct log_store *store, const struct log_name *names, size_t count,
                              struct bw_error *error) BW_CHECKED;

/* Inserts with the next batch; a text that is longer than the store's max_bytes is cut by
 * common/base/text_cut.h, and where it was cut is stored with it. */
void log_store_insert(struct log_store *store, struct log_commit *commit, int64_t try_ms);

/* Reads a log, and, unless `cuts` is NULL, where it was cut. *out and *err are new (free()), NULL
 * where there is none. BW_NOT_FOUND: there is no log; BW_UNAVAILABLE. */
enum bw_code log_store_read(struct log_store *store, const char *job, const char *digest,
                            char **out, char **err, struct log_cuts *cuts, struct bw_error *error)
    BW_CHECKED;

#endif
