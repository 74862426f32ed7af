/*
 * group_commit: many inserts share one round trip. If no batch is in flight, an insert is sent at
 * once; otherwise it joins the next batch, which is sent when this one returns. No timers.
 *
 * One instance serves one collection and owns one thread, which does all its database operations. A
 * batch is bounded in documents and bytes; a batch that fails as a whole is halved until the
 * invalid document is alone. After a temporary failure the same documents are sent again with the
 * same ids, until each item's time is up. An insert that finds its own nonce under its _id has
 * succeeded.
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
    COMMIT_DONE,      /* inserted durably, perhaps by an earlier try */
    COMMIT_DUPLICATE, /* another document has this _id: `existing` */
    COMMIT_REFUSED,   /* the database refuses this document permanently */
    COMMIT_UNKNOWN    /* time is up; it may or may not have been inserted */
};

struct commit_item {
    bson_t *document; /* with _id (a text or an ObjectId) and nonce; owned by the caller, also after
                         completion */
    int64_t expires_ms; /* clock_boot_ms until which it is tried */
    /* Called once from the instance's thread, no lock held. May submit more, must not block for
     * long. `existing` (borrowed; without the instance's excluded fields) only with
     * COMMIT_DUPLICATE. */
    void (*completed)(struct commit_item *item, enum commit_outcome outcome,
                      const bson_t *existing);
    struct commit_item *next; /* the instance's */
};

/* When the fence is closed, no further batch is sent, and waiting items are completed as unknown.
 * For the scheduler, which writes only while it leads. */
struct fence {
    bool (*is_open)(void *context); /* from the instance's thread, also with its mutex held; NULL:
                                       always */
    void *context;
};

enum { COMMIT_EXCLUDED_MAX = 8 };

struct group_commit_settings {
    const char *collection;
    unsigned max_documents;
    size_t max_bytes;
    bool fails_fast; /* while the database is unavailable items are completed as unknown at once */
    bool fetches_duplicates; /* read the existing document of a duplicate _id */
    const char *excluded_fields[COMMIT_EXCLUDED_MAX]; /* not to be read with it; NULL: no more */
    struct fence fence;
};

/* Starts an instance. BW_INTERNAL if its thread can't be started. `settings` is copied (its strings
 * are static). */
enum bw_code group_commit_open(struct database *database,
                               const struct group_commit_settings *settings,
                               struct group_commit **group_commit, struct bw_error *error)
    BW_CHECKED;

/* Completes all submitted items (each within its time), then ends the thread. NULL is allowed. */
void group_commit_close(struct group_commit *group_commit);

/* Hands an item over. Never blocks, never fails. */
void group_commit_submit(struct group_commit *group_commit, struct commit_item *item);

#endif
