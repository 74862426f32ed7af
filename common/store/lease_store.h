/*
 * lease_store: collection job_leases: one document per hand-out, _id "<job id>.<attempt>". Inserted
 * by the scheduler, in batches; only `ended` (with what belongs to it) and `term` of it ever
 * change, by the scheduler; the API ends those that graders return. Live = no `ended` and no result
 * of its job. Safe from any thread.
 */
#ifndef COMMON_STORE_LEASE_STORE_H
#define COMMON_STORE_LEASE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/domain/trace.h"

struct lease_store;

/* Why a lease ended without a result. `released` was never delivered, `returned`: the
 * grader reported that it can't run the job. Neither counts as a failed attempt. A returned lease
 * is `released` in the database too, with an owner: earlier versions read it as that. */
enum lease_end {
    LEASE_LIVE,
    LEASE_LOST,
    LEASE_EXPIRED,
    LEASE_UNDELIVERABLE,
    LEASE_RELEASED,
    LEASE_RETURNED
};

/* The stored name of an end; "" for LEASE_LIVE. Static. */
const char *lease_end_name(enum lease_end end);

struct lease {
    char job[JOB_ID_SIZE];
    uint32_t attempt; /* from 1 */
    char worker[WORKER_ID_SIZE];
    int64_t term;
    int64_t leased_ms, deadline_ms; /* database dates */
    int64_t limit_ms;               /* how long the job may take; 0: an earlier version's lease */
    enum lease_end end;
    int64_t ended_ms;                /* database date of `end`; 0: live, or not known */
    char reason[RETURN_REASON_SIZE]; /* why it was returned; else "" */
    bool is_ruled;                   /* returned by an owner rule of its run, not by the grader */
    char traceparent[TRACEPARENT_SIZE]; /* with which the job is handed out; "": none */
};

struct lease_commit {
    struct commit_item item; /* first; private to the store */
    struct lease lease;
    int64_t nonce;
    /* Called once from the store's thread. `existing` (borrowed) only with COMMIT_DUPLICATE.
     * Ownership of the lease_commit returns to the caller. */
    void (*completed)(struct lease_commit *commit, enum commit_outcome outcome,
                      const struct lease *existing);
};

/* `fence`: see group_commit.h. */
enum bw_code lease_store_open(struct database *database, struct fence fence,
                              struct lease_store **store, struct bw_error *error) BW_CHECKED;
void lease_store_close(struct lease_store *store);

/* Inserts `commit->lease` with the next batch; `try_ms` bounds the trying. The caller sets
 * `completed`. */
void lease_store_insert(struct lease_store *store, struct lease_commit *commit, int64_t try_ms);

/* Ends a lease: compare-and-set on {_id, no `ended`, term}. *ended: this call (or an earlier try of
 * it) ended it. BW_UNAVAILABLE: unknown. */
enum bw_code lease_store_end(struct lease_store *store, const char *job, uint32_t attempt,
                             int64_t term, enum lease_end end, bool *ended, struct bw_error *error)
    BW_CHECKED;

/* Ends the lease of `returned` (job, attempt, worker, reason, is_ruled) as returned:
 * compare-and-set on {_id, no `ended`, worker}, tried once. *done: this call ended it; if not, an
 * earlier one may have: then it reads as returned. BW_UNAVAILABLE: unknown. */
enum bw_code lease_store_return(struct lease_store *store, const struct lease *returned, bool *done,
                                struct bw_error *error) BW_CHECKED;

/* Moves `count` leases without `ended` to `term`, in few commands. Idempotent. BW_CONFLICT: some
 * have ended in the meantime. */
enum bw_code lease_store_stamp(struct lease_store *store, const struct lease *leases, size_t count,
                               int64_t term, struct bw_error *error) BW_CHECKED;

/* Reads the leases of `count` jobs with attempt numbers first .. first+window-1 and calls `each`
 * (no order) for each that exists. */
enum bw_code lease_store_read(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                              size_t count, uint32_t first, uint32_t window,
                              void (*each)(const struct lease *lease, void *context), void *context,
                              struct bw_error *error) BW_CHECKED;

/* Reads the leases jobs[i], attempts[i], and calls `each` (no order) for those that were returned.
 */
enum bw_code lease_store_read_returned(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                                       const uint32_t *attempts, size_t count,
                                       void (*each)(const struct lease *lease, void *context),
                                       void *context, struct bw_error *error) BW_CHECKED;

/* For the change stream. False if the document is no lease. */
bool lease_from_document(const bson_t *document, struct lease *lease);

/* Deletes all leases of `count` jobs. May be repeated. */
enum bw_code lease_store_delete(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                                size_t count, struct bw_error *error) BW_CHECKED;

#endif
