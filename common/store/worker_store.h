/*
 * worker_store: collection workers. Registration inserts, or raises the epoch (API); the fault is
 * the API's too; alive, last_seen and jobs_processed are the scheduler's. Safe from any thread.
 */
#ifndef COMMON_STORE_WORKER_STORE_H
#define COMMON_STORE_WORKER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/worker_fault.h"
#include "common/domain/worker_tags.h"

struct worker_store;

enum { HOSTNAME_SIZE = 256 };

struct worker {
    char id[WORKER_ID_SIZE];
    char hostname[HOSTNAME_SIZE];  /* "" if not stated */
    char tags[WORKER_TAGS_SIZE];   /* as stated, checked by worker_tags_check; "" has none */
    char fault[WORKER_FAULT_SIZE]; /* why it can't run jobs, as it says; "": it can */
    int concurrency;               /* 0: not stated */
    enum protocol protocol;        /* by which it registered */
    int64_t epoch;                 /* 1, incremented by each later registration of the same id */
    bool is_socket;                /* it registered by a websocket */
    bool takes_files;              /* it said that it takes jobs that have files */
    bool takes_digests;            /* it said that it runs images by the digests in its jobs */
    bool wants_cancels;            /* it asked to be told which of its jobs are cancelled */
    char replica[WORKER_ID_SIZE], process[33]; /* where the websocket is open */
    int64_t jobs_processed;
    bool is_alive;
    bool sends_heartbeats; /* by its registration, which stated a hostname or a concurrency */
    bool beats_at_work;    /* it has sent heartbeats while it held a job */
    int64_t registered_ms, last_seen_ms; /* database dates */
};

struct worker_commit {
    struct commit_item item; /* first; private to the store */
    struct worker worker;
    int64_t nonce; /* filled */
    /* COMMIT_DUPLICATE: the id has been registered before. */
    void (*completed)(struct worker_commit *commit, enum commit_outcome outcome);
    void *context;
};

/* Opens the store; `database` must outlive it. BW_INTERNAL: its thread can't be started. The close
 * completes submitted inserts; NULL is allowed. */
enum bw_code worker_store_open(struct database *database, struct worker_store **store,
                               struct bw_error *error) BW_CHECKED;
void worker_store_close(struct worker_store *store);

/* Registers: inserts with the next batch. Fills the nonce, and the dates from the database's clock.
 */
void worker_store_insert(struct worker_store *store, struct worker_commit *commit, int64_t try_ms);

/* Reads a worker; `worker` may be NULL. BW_OK, BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code worker_store_read(struct worker_store *store, const char *id, struct worker *worker,
                               struct bw_error *error) BW_CHECKED;

/* Calls `each` (which borrows) for those of `count` ids that exist, in any order. BW_UNAVAILABLE:
 * some may have been reported. */
enum bw_code worker_store_find(struct worker_store *store, const char *const *ids, size_t count,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error) BW_CHECKED;

/* Registers an id again: one compare-and-set from `former_epoch` to the next, tried once. *done
 * false: another registration was faster. BW_UNAVAILABLE: unknown; a retry with the same `nonce`,
 * which is unique to this registration (its commit's), shows the outcome. `worker` has the new
 * registration; its epoch and dates are filled. */
enum bw_code worker_store_renew(struct worker_store *store, struct worker *worker,
                                int64_t former_epoch, int64_t nonce, bool *done,
                                struct bw_error *error) BW_CHECKED;

/* Stores what the worker says of itself ("": it has no fault). Writes nothing if that is stored
 * already, or if the worker was registered again since `epoch` (0: any registration). May be
 * repeated. BW_UNAVAILABLE. */
enum bw_code worker_store_note_fault(struct worker_store *store, const char *id, int64_t epoch,
                                     const char *fault, struct bw_error *error) BW_CHECKED;

/* The state of a worker, as seen by the leader of a term. */
struct worker_mark {
    char id[WORKER_ID_SIZE];
    int64_t term;
    int64_t epoch; /* a later registration is not changed */
    int64_t jobs_processed;
    bool is_alive;
    bool beats_at_work; /* false: the stored value is kept */
    int64_t last_seen_ms;
};

/* Stores `count` marks in their order, each unless the leader of a later term has stored one.
 * BW_UNAVAILABLE: some may be stored. */
enum bw_code worker_store_mark(struct worker_store *store, const struct worker_mark *marks,
                               size_t count, struct bw_error *error) BW_CHECKED;

/* Deletes a worker. May be repeated. */
enum bw_code worker_store_delete(struct worker_store *store, const char *id, struct bw_error *error)
    BW_CHECKED;

/* Calls `each` (which borrows) for every worker, for recovery. BW_UNAVAILABLE: some may have been
 * reported. */
enum bw_code worker_store_each(struct worker_store *store,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error) BW_CHECKED;

/* For the change stream. False if the document is no worker. */
bool worker_from_document(const bson_t *document, struct worker *worker);

#endif
