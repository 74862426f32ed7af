/*
 * group_commit: many inserts share one round trip. If no batch is under way, an insert is sent at
 * once; otherwise it joins the next batch, which leaves when this one returns. No timers.
 *
 * One instance serves one collection and owns one thread, which alone talks to the database. A
 * batch is bounded in documents and bytes; one that fails as a whole is halved until the culprit is
 * alone. A failure that another try may mend is tried again, the same documents with the same ids,
 * until each item's time is up. An insert that finds its own nonce under its _id has succeeded.
 */
#ifndef COMMON_DB_GROUP_COMMIT_H
#define COMMON_DB_GROUP_COMMIT_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/base/error.h"

struct group_commit;

enum commit_outcome {
    COMMIT_DONE,      /* inserted, durably (also: it was found that an earlier try had done it) */
    COMMIT_DUPLICATE, /* something else stands under this _id: `existing` */
    COMMIT_REFUSED,   /* the database will never take this document */
    COMMIT_UNKNOWN    /* time is up; it may or may not have been inserted */
};

struct commit_item {
    bson_t *document;   /* with _id (a text or an ObjectId) and nonce; owned by the caller until
                           settled, then   still his to destroy */
    int64_t expires_ms; /* clock_boot_ms until which it is tried */
    /* Called once from the instance's thread, no lock held. May submit more, must not block for
     * long. `existing` (borrowed; without the instance's heavy fields) only with COMMIT_DUPLICATE.
     */
    void (*settled)(struct commit_item *item, enum commit_outcome outcome, const bson_t *existing);
    struct commit_item *next; /* the instance's */
};

/* Who loses the right to write, at whatever moment, sends no further batch: what waits is settled
 * as unknown. For the scheduler, which writes only while it leads. */
struct fence {
    bool (*is_open)(void *context); /* from the instance's thread, also with its mutex held; NULL:
                                       always */
    void *context;
};

struct group_commit_settings {
    const char *collection;
    unsigned max_documents;
    size_t max_bytes;
    bool is_ephemeral; /* signals: acknowledged by the primary's memory, not by majority and journal
                        */
    bool
        fails_fast; /* while the database is away nothing waits: it is settled as unknown at once */
    bool fetches_duplicates;        /* read what stands under a duplicate _id */
    const char *excluded_fields[4]; /* not to be read with it */
    struct fence fence;
};

/* Starts an instance. BW_INTERNAL if its thread can't be started. `settings` is copied (its strings
 * are static). */
enum bw_code group_commit_open(struct database *database,
                               const struct group_commit_settings *settings,
                               struct group_commit **group_commit, struct bw_error *error)
    BW_CHECKED;

/* Settles everything that was submitted (each within its time), then ends the thread. NULL is fine.
 */
void group_commit_close(struct group_commit *group_commit);

/* Hands an item over. Never blocks, never fails. */
void group_commit_submit(struct group_commit *group_commit, struct commit_item *item);

/* How many items wait or are under way: for metrics and for limits. */
size_t group_commit_depth(struct group_commit *group_commit);

/* Batches and documents sent so far: for metrics. */
void group_commit_totals(struct group_commit *group_commit, uint64_t *batches, uint64_t *documents);

#endif
