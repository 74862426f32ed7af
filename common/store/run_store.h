/*
 * run_store: collection grading_runs: one small document per run, with its definition if that is
 * short. Its insert (by the API) is the commit point of a run. Later writes: started_at and the
 * first phase, once, by the API; cancelled_at and job_cancels by the API; state, finished_at,
 * summary and place by the scheduler. Safe from any thread.
 */
#ifndef COMMON_STORE_RUN_STORE_H
#define COMMON_STORE_RUN_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/run_definition.h"
#include "common/db/group_commit.h"
#include "common/domain/breaker.h"
#include "common/domain/foretold.h"
#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/run.h"
#include "common/domain/run_terms.h"
#include "common/domain/scheduling.h"
#include "common/domain/trace.h"
#include "common/base/secret.h"

struct run_store;

/* A place in a course's queue: that of a run which was replaced. */
struct run_place {
    int64_t started_ms;    /* the database date from which it waits */
    char run[RUN_ID_SIZE]; /* the run that had the place first */
    uint32_t slot;         /* of the job in that run */
};

struct run {
    char id[RUN_ID_SIZE];
    char name[RUN_NAME_LONGEST + 1];
    enum protocol protocol;
    char course[WORKER_ID_SIZE], assignment[WORKER_ID_SIZE]; /* "": it belongs to none */
    bool has_pre, has_post;
    bool has_stages[3]; /* by enum job_kind: false for a job that has nothing to run */
    uint32_t students;
    int priority;
    enum run_class run_class;
    char *requires;                 /* the tags of its graders (run_requires_text); NULL: none;
                                       owned */
    char submitter[SUBMITTER_SIZE]; /* for whom it is; "": it doesn't say */
    int max_attempts;               /* 0: the scheduler's default */
    struct breaker breaker;         /* counts the students' jobs that the summary has */
    int64_t timeout_ms[3];          /* by enum job_kind: sum of the stages' timeouts */
    uint32_t untimed_stages[3];     /* and how many stages have none */
    enum run_phase phase;           /* as stored; may lag behind the facts */
    int64_t created_ms, started_ms, cancelled_ms, finished_ms; /* database dates; 0: not yet */
    int64_t job_cancels;         /* how often a job of it was to be cancelled alone; 0: none was */
    char rerun_of[RUN_ID_SIZE];  /* the run whose students it grades again; "": none */
    char (*reruns)[RUN_ID_SIZE]; /* its reruns, read by run_store_read alone; owned */
    uint32_t rerun_count;
    char *labels;  /* an object, as JSON text; NULL: none, or not read: only run_store_read and
                      run_listing.h read it; owned */
    bool has_keys; /* students of it have supersede keys */
    double supersede_share; /* with keys: the share of its usual time after which an older job
                               is not told to stop */
    uint8_t *keys; /* SUPERSEDE_DIGEST_BYTES per student, not read by run_store_read; or NULL; owned
                    */
    struct run_place place; /* in the queue, if it is another run's; else its date is 0 */
    bool has_drift;         /* a grader ran another image than the run's pin */
    char traceparent[TRACEPARENT_SIZE]; /* with which it was submitted; "": none */
    uint8_t *summary; /* a byte per job slot (common/domain/run.h), or NULL; owned */
    uint32_t summary_length;
};

/* Opens the store; `database` must outlive it. BW_INTERNAL: its thread can't be started. The close
 * completes submitted inserts; NULL is allowed. */
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
    const char *definition;  /* RUN_DEFINITION_MAX_BYTES at most; NULL: stored in run_definitions;
                                borrowed only during run_store_insert */
    size_t definition_length;
    char digest[SHA256_TEXT_SIZE]; /* of the definition, stored with the run; "": none */
    /* Called once from the store's thread. With COMMIT_DUPLICATE `first` is the digest of the
     * existing document ("": none), or NULL if it could not be read. */
    void (*completed)(struct run_commit *commit, enum commit_outcome outcome, const char *first);
};

/* A longer definition would be transferred with every change of its run. */
enum { RUN_DEFINITION_MAX_BYTES = 4096 };

/* Inserts with the next batch, tried for 10 s. An invalid id is COMMIT_REFUSED at once, on the
 * calling thread. All functions below answer BW_NOT_FOUND for such an id, and send nothing. */
void run_store_insert(struct run_store *store, struct run_commit *commit);

/* Reads the definition in the run's document. *text is new (free()). BW_NOT_FOUND: it is stored
 * elsewhere, or there is no such run; BW_UNAVAILABLE. */
enum bw_code run_store_read_definition(struct run_store *store, const char *run_id, char **text,
                                       size_t *length, struct bw_error *error) BW_CHECKED;

/* Reads the digest that was stored with the run ("": none). BW_NOT_FOUND: there is no such run;
 * BW_UNAVAILABLE. */
enum bw_code run_store_read_digest(struct run_store *store, const char *run_id,
                                   char digest[SHA256_TEXT_SIZE], struct bw_error *error)
    BW_CHECKED;

/* Reads a run; on BW_OK the caller frees it with run_clear. BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code run_store_read(struct run_store *store, const char *run_id, struct run *run,
                            struct bw_error *error) BW_CHECKED;

/* Calls `each` (no order; `run_id` is borrowed) for those of `count` runs that run_store_read would
 * find, in few reads. */
enum bw_code run_store_find(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                            size_t count, void (*each)(const char *run_id, void *context),
                            void *context, struct bw_error *error) BW_CHECKED;

/* The same for those that are not recorded as over. */
enum bw_code run_store_find_open(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                 size_t count, void (*each)(const char *run_id, void *context),
                                 void *context, struct bw_error *error) BW_CHECKED;

/* Calls `each` (no order; `run_id` is borrowed) for those of `count` runs that are stored as over,
 * in few reads. */
enum bw_code run_store_find_over(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                 size_t count,
                                 void (*each)(const char *run_id, enum run_phase phase,
                                              void *context),
                                 void *context, struct bw_error *error) BW_CHECKED;

/* Whether there is any run. One read. */
enum bw_code run_store_has_any(struct run_store *store, bool *has_any, struct bw_error *error)
    BW_CHECKED;

/* Notes that `rerun_id` grades students of the run again. Repeated calls change nothing. BW_OK,
 * also if the run is gone; BW_UNAVAILABLE. */
enum bw_code run_store_add_rerun(struct run_store *store, const char *run_id, const char *rerun_id,
                                 struct bw_error *error) BW_CHECKED;

/* Notes that a grader has run another image than the run's pin. Repeated calls change nothing.
 * BW_OK, also if the run is gone; BW_NOT_FOUND: the id is invalid; BW_UNAVAILABLE. */
enum bw_code run_store_note_drift(struct run_store *store, const char *run_id,
                                  struct bw_error *error) BW_CHECKED;

/* Starts it: one compare-and-set to `first`, the phase that follows from its facts. BW_OK once;
 * BW_CONFLICT: it was started or cancelled before; BW_NOT_FOUND; BW_UNAVAILABLE: unknown. */
enum bw_code run_store_start(struct run_store *store, const char *run_id, enum run_phase first,
                             struct bw_error *error) BW_CHECKED;

/* Requests its cancellation: marks it, once. A run that was not started is over then. BW_OK, also
 * if it was requested before; BW_CONFLICT: it is over, with *phase; BW_NOT_FOUND; BW_UNAVAILABLE:
 * unknown. */
enum bw_code run_store_cancel(struct run_store *store, const char *run_id, enum run_phase *phase,
                              struct bw_error *error) BW_CHECKED;

/* Notes that a job of the run is about to be cancelled alone: from now on jobs that were never
 * handed out may have results, and readers look for them. Call it before the result is inserted.
 * BW_CONFLICT: the run is not started, or over; BW_NOT_FOUND; BW_UNAVAILABLE: unknown. */
enum bw_code run_store_note_job_cancel(struct run_store *store, const char *run_id,
                                       struct bw_error *error) BW_CHECKED;

/* Stores the place in the queue that the run has taken over. BW_OK, also if the run is gone;
 * BW_UNAVAILABLE. */
enum bw_code run_store_place(struct run_store *store, const char *run_id,
                             const struct run_place *place, struct bw_error *error) BW_CHECKED;

/* How far a run is; all borrowed. */
struct run_advance {
    enum run_phase phase;
    int64_t ended_ms; /* the date of its last result; 0: the current date; used if it is over */
    const uint8_t *summary;
    uint32_t summary_length;
    const struct breaker *breaker;
    const struct foretold_ends *foretold; /* stored if it is over */
};

/* Stores how far an unfinished run is; sets finished_at, once, when its phase is over. Idempotent.
 */
enum bw_code run_store_advance(struct run_store *store, const char *run_id,
                               const struct run_advance *advance, struct bw_error *error)
    BW_CHECKED;

/* Reads every started run that is not stored as over, optionally with its summary. *runs is new,
 * free(), after run_clear of each; also after a failure, when it has the runs read until then. */
enum bw_code run_store_read_active(struct run_store *store, bool with_summary, struct run **runs,
                                   size_t *count, struct bw_error *error) BW_CHECKED;

/* Reads runs that ended before `before_ms` (a database date), `limit` at most, without summaries.
 * *runs is new, free(). */
enum bw_code run_store_read_ended(struct run_store *store, int64_t before_ms, int64_t limit,
                                  struct run **runs, size_t *count, struct bw_error *error)
    BW_CHECKED;

/* A run of a course. */
struct run_entry {
    char id[RUN_ID_SIZE];
    char rerun_of[RUN_ID_SIZE]; /* "": it is no rerun */
    int64_t created_ms;
};

/* Reads all runs of a course and an assignment (NULL: of all assignments), in no order. *entries is
 * new, free(), also after a failure. BW_UNAVAILABLE. */
enum bw_code run_store_read_course(struct run_store *store, const char *course,
                                   const char *assignment, struct run_entry **entries,
                                   size_t *count, struct bw_error *error) BW_CHECKED;

/* Hides a run that has ended: from now on no read finds it, even while parts of it remain. May be
 * repeated. */
enum bw_code run_store_hide(struct run_store *store, const char *run_id, struct bw_error *error)
    BW_CHECKED;

/* Deletes a run that was hidden, after everything else of it. May be repeated. */
enum bw_code run_store_delete(struct run_store *store, const char *run_id, struct bw_error *error)
    BW_CHECKED;

/* For the change stream: reads a run from a change event's document. False if it is none. On true
 * the caller frees it with run_clear. */
bool run_from_document(const bson_t *document, struct run *run);

#endif
