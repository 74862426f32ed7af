/*
 * worker_store: collection workers. Registration inserts, or raises the epoch (API); alive,
 * last_seen and jobs_processed are the scheduler's. Safe from any thread.
 */
#ifndef COMMON_STORE_WORKER_STORE_H
#define COMMON_STORE_WORKER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/domain/protocol.h"

struct worker_store;

enum { HOSTNAME_SIZE = 256 };

struct worker {
    char id[WORKER_ID_SIZE];
    char hostname[HOSTNAME_SIZE]; /* "" if not said */
    int concurrency;              /* 0: not said */
    enum protocol protocol;       /* by which it registered */
    int64_t epoch;                /* 1, and one more at each later registration of the same id */
    bool is_socket;               /* it registered by a websocket */
    char replica[WORKER_ID_SIZE], process[33]; /* at which that is open */
    int64_t jobs_processed;
    bool is_alive;
    bool sends_heartbeats; /* its registration says so: it stated a hostname or a concurrency */
    bool beats_at_work;    /* it has sent heartbeats while it held a job */
    int64_t registered_ms, last_seen_ms; /* database dates */
};

struct worker_commit {
    struct commit_item item; /* first; private to the store */
    struct worker worker;
    int64_t nonce; /* filled */
    /* COMMIT_DUPLICATE: the id has been registered before. */
    void (*settled)(struct worker_commit *commit, enum commit_outcome outcome);
    void *context;
};

enum bw_code worker_store_open(struct database *database, struct worker_store **store,
                               struct bw_error *error) BW_CHECKED;
void worker_store_close(struct worker_store *store);

/* Registers: inserts with the next batch. The nonce is filled, and so are the dates, with
 * the database's. */
void worker_store_insert(struct worker_store *store, struct worker_commit *commit, int64_t try_ms);

/* Is there such a worker? BW_OK, BW_NOT_FOUND, BW_UNAVAILABLE. `worker` may be NULL. */
enum bw_code worker_store_read(struct worker_store *store, const char *id, struct worker *worker,
                               struct bw_error *error) BW_CHECKED;

/* Those of `count` ids that there are, in any order; `each` borrows. BW_UNAVAILABLE: some may have
 * been reported. */
enum bw_code worker_store_find(struct worker_store *store, const char *const *ids, size_t count,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error) BW_CHECKED;

/* Registers an id again: one compare-and-set from `former_epoch` to the next, tried once. *done
 * false: somebody else was faster. BW_UNAVAILABLE: unknown; another try with the same `nonce`,
 * which is this registration's alone (its commit's), finds out. `worker` is what it is from now on,
 * its epoch and dates are filled. */
enum bw_code worker_store_renew(struct worker_store *store, struct worker *worker,
                                int64_t former_epoch, int64_t nonce, bool *done,
                                struct bw_error *error) BW_CHECKED;

/* What the leader of a term thinks of a worker. */
struct worker_mark {
    char id[WORKER_ID_SIZE];
    int64_t term;
    int64_t epoch; /* a later registration is left alone */
    int64_t jobs_processed;
    bool is_alive;
    bool beats_at_work; /* false: whatever was known stays */
    int64_t last_seen_ms;
};

/* Records `count` marks in their order: each unless the leader of a later term has recorded
 * something. BW_UNAVAILABLE: some may be recorded. */
enum bw_code worker_store_mark(struct worker_store *store, const struct worker_mark *marks,
                               size_t count, struct bw_error *error) BW_CHECKED;

enum bw_code worker_store_delete(struct worker_store *store, const char *id, struct bw_error *error)
    BW_CHECKED;

/* All of them, for recovery; `each` borrows. */
enum bw_code worker_store_each(struct worker_store *store,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error) BW_CHECKED;

/* For the change stream. False if the document is no worker. */
bool worker_from_document(const bson_t *document, struct worker *worker);

#endif
