/*
 * run_store: collection grading_runs: one small document per run, with its definition if that is
 * short. Its insert (API) is the commit point of a run. Who may write what afterwards: started_at
 * and the first phase, once, by the API; state, finished_at and summary by the scheduler. Safe from
 * any thread.
 */
#ifndef COMMON_STORE_RUN_STORE_H
#define COMMON_STORE_RUN_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/run_definition.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/domain/run.h"
#include "common/base/secret.h"

struct run_store;

struct run {
    char id[RUN_ID_SIZE];
    char name[201];
    char course[WORKER_ID_SIZE], assignment[WORKER_ID_SIZE]; /* "": the classic protocol's */
    bool has_pre, has_post;
    bool has_stages[3]; /* by enum job_kind: false for a job that has nothing to run */
    uint32_t students;
    int priority;
    int max_attempts;           /* 0: the scheduler's default */
    int64_t timeout_ms[3];      /* by enum job_kind: sum of the stages' timeouts */
    uint32_t untimed_stages[3]; /* and how many stages have none */
    enum run_phase phase;       /* as recorded; may lag behind what the facts say */
    int64_t created_ms, started_ms, cancelled_ms, finished_ms; /* database dates; 0: not yet */
    uint8_t *summary; /* a byte per job slot (common/domain/run.h), or NULL; owned */
    uint32_t summary_length;
};

enum bw_code run_store_open(struct database *database, struct run_store **store,
                            struct bw_error *error) BW_CHECKED;
void run_store_close(struct run_store *store);

/* Frees what `run` owns, not itself. */
void run_clear(struct run *run);

/* A fresh run id: 24 hex digits. */
void run_id_new(char id[RUN_ID_SIZE]);

struct run_commit {
    struct commit_item item; /* first; private to the store */
    struct run run;          /* in phase created; created_ms is filled with the database's date */
    const char *definition; /* RUN_DEFINITION_MAX_BYTES at most; NULL: it stands elsewhere; borrowed
                               during run_store_insert alone */
    size_t definition_length;
    char digest[SHA256_TEXT_SIZE]; /* of the definition, kept with the run; "": none */
    /* Called once from the store's thread. With COMMIT_DUPLICATE `first` is the digest that is kept
     * with what stands there ("": none), or NULL if that could not be read. */
    void (*settled)(struct run_commit *commit, enum commit_outcome outcome, const char *first);
};

/* A longer definition would be carried about whenever its run is marked. */
enum { RUN_DEFINITION_MAX_BYTES = 4096 };

/* Inserts with the next batch, tried for 10 s. An id that can't be one is COMMIT_REFUSED at once,
 * on the calling thread. All functions below answer BW_NOT_FOUND for such an id, and send nothing.
 */
void run_store_insert(struct run_store *store, struct run_commit *commit);

/* Reads the definition that stands in the run's document. *text is new (free()). BW_NOT_FOUND: it
 * stands elsewhere, or there is no such run; BW_UNAVAILABLE. */
enum bw_code run_store_read_definition(struct run_store *store, const char *run_id, char **text,
                                       size_t *length, struct bw_error *error) BW_CHECKED;

/* Reads one; on BW_OK run_clear is owed. BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code run_store_read(struct run_store *store, const char *run_id, struct run *run,
                            struct bw_error *error) BW_CHECKED;

/* Is there any run? One read. */
enum bw_code run_store_has_any(struct run_store *store, bool *has_any, struct bw_error *error)
    BW_CHECKED;

/* Starts it: one compare-and-set to `first`, the phase that follows from its facts. BW_OK once;
 * BW_CONFLICT: it was started or cancelled before; BW_NOT_FOUND; BW_UNAVAILABLE: unknown. */
enum bw_code run_store_start(struct run_store *store, const char *run_id, enum run_phase first,
                             struct bw_error *error) BW_CHECKED;

/* Asks that it be cancelled: marks it, once. A run that was not started is over with that. BW_OK,
 * also if it was asked before; BW_CONFLICT: it is over, and *phase says how; BW_NOT_FOUND;
 * BW_UNAVAILABLE: unknown. */
enum bw_code run_store_cancel(struct run_store *store, const char *run_id, enum run_phase *phase,
                              struct bw_error *error) BW_CHECKED;

/* Records phase and summary of an unfinished run; sets finished_at, once, when `phase` is over: to
 * `ended_ms`, the date of its last result, or to the present if that is 0. Idempotent. */
enum bw_code run_store_advance(struct run_store *store, const char *run_id, enum run_phase phase,
                               int64_t ended_ms, const uint8_t *summary, uint32_t summary_length,
                               struct bw_error *error) BW_CHECKED;

/* Reads every started run that is not recorded as over, with its summary if asked for. *runs is
 * new, free(), after run_clear of each; also after a failure, when it holds those read until then.
 */
enum bw_code run_store_read_active(struct run_store *store, bool with_summary, struct run **runs,
                                   size_t *count, struct bw_error *error) BW_CHECKED;

/* Reads runs that ended before `before_ms` (a database date), `limit` at most, without summaries.
 * *runs is new, free(). */
enum bw_code run_store_read_ended(struct run_store *store, int64_t before_ms, int64_t limit,
                                  struct run **runs, size_t *count, struct bw_error *error)
    BW_CHECKED;

/* Hides a run that has ended: from now on nobody finds it, whatever of it is still there. May be
 * repeated. */
enum bw_code run_store_hide(struct run_store *store, const char *run_id, struct bw_error *error)
    BW_CHECKED;

/* Deletes a run that was hidden, after everything else of it. May be repeated. */
enum bw_code run_store_delete(struct run_store *store, const char *run_id, struct bw_error *error)
    BW_CHECKED;

/* For the change stream: reads a run out of a change event's document. False if it is none.
 * run_clear is owed on true. */
bool run_from_document(const bson_t *document, struct run *run);

#endif
