/*
 * job_times_store: collection job_times: how long jobs take (common/domain/quantile_sketch.h), a
 * document for each key: what is graded. The leading scheduler writes and reads it. What was not
 * written for 400 days is removed by the database (TTL). Safe from any thread; every function waits
 * for the database.
 */
#ifndef COMMON_STORE_JOB_TIMES_STORE_H
#define COMMON_STORE_JOB_TIMES_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/job.h"
#include "common/domain/run_terms.h"

struct job_times_store;

enum {
    JOB_TIMES_KEY_SIZE = 2 * WORKER_ID_SIZE + RUN_NAME_LONGEST,
    JOB_TIMES_MAX = 1024,        /* keys that are kept */
    JOB_TIMES_SAVED_AT_ONCE = 64 /* records of one write */
};

struct job_times_record {
    char key[JOB_TIMES_KEY_SIZE];
    char *sketch; /* as text; owned; NULL: the key is deleted */
};

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code job_times_store_open(struct database *database, struct job_times_store **store,
                                  struct bw_error *error) BW_CHECKED;
void job_times_store_close(struct job_times_store *store);

/* Replaces or deletes the documents of `count` records, JOB_TIMES_SAVED_AT_ONCE at most. May be
 * repeated. BW_OK: it is durable; BW_UNAVAILABLE: unknown. */
enum bw_code job_times_store_save(struct job_times_store *store,
                                  const struct job_times_record *records, size_t count,
                                  struct bw_error *error) BW_CHECKED;

/* Reads the documents that were written last, JOB_TIMES_MAX at most, the newest first; older ones
 * are deleted. On BW_OK *records is new, for job_times_records_free; else BW_UNAVAILABLE. */
enum bw_code job_times_store_read(struct job_times_store *store, struct job_times_record **records,
                                  size_t *count, struct bw_error *error) BW_CHECKED;

/* Frees a list of records and what they own; NULL is allowed. */
void job_times_records_free(struct job_times_record *records, size_t count);

#endif
