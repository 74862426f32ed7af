/*
 * leader_store: collection leader: one document: holder, term, renewals, lease_ms, expires_at. The
 * scheduler's own lease. Safe from any thread.
 *
 * No date decides who leads. Each renewal writes the next number into `renewals`, so the document
 * changes as long as its holder is alive, and a standby takes it by a compare-and-set on what it
 * saw. How long it has to see no change is the caller's business (scheduler/io/leader.h).
 * expires_at is written for earlier versions, which judge by it; it is compared for equality only.
 */
#ifndef COMMON_STORE_LEADER_STORE_H
#define COMMON_STORE_LEADER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/job.h"
#include "common/domain/protocol.h"

struct leader_store;

struct leader {
    char holder[WORKER_ID_SIZE];
    int64_t term;
    int64_t renewals;   /* -1: a document of an earlier version, which has none */
    int64_t expires_ms; /* database date */
    int64_t lease_ms;   /* the holder's; 0: not known */
    bool is_released;   /* nobody holds it */
    /* By enum protocol: since when no grader of it is alive (database date); 0: one is, or nothing
     * is known: the leader of this term has not said anything. */
    int64_t no_grader_since_ms[PROTOCOLS];
    int64_t mark; /* touched by recovery: a number that the change stream waits for */
};

enum bw_code leader_store_open(struct database *database, struct leader_store **store,
                               struct bw_error *error) BW_CHECKED;
void leader_store_close(struct leader_store *store);

/* Reads who leads; makes the document, released, if there is none. Also samples the database's
 * clock. */
enum bw_code leader_store_read(struct leader_store *store, struct leader *leader,
                               struct bw_error *error) BW_CHECKED;

/* Has the holder done nothing between these two sights? */
bool leader_is_unchanged(const struct leader *former, const struct leader *leader);

/* Takes the lease if the document is still as it was `seen`; each taking raises the term. *leader
 * is who leads afterwards; *is_taken: it is the caller. */
enum bw_code leader_store_take(struct leader_store *store, const char *holder, int64_t lease_ms,
                               const struct leader *seen, struct leader *leader, bool *is_taken,
                               struct bw_error *error) BW_CHECKED;

/* Renews one's own for the `renewals`-th time of its term: *held false: it is somebody else's now.
 */
enum bw_code leader_store_renew(struct leader_store *store, const char *holder, int64_t term,
                                int64_t renewals, int64_t lease_ms, bool *held,
                                struct bw_error *error) BW_CHECKED;

/* Gives it back, marked, so that the next one need not wait. */
enum bw_code leader_store_release(struct leader_store *store, const char *holder, int64_t term,
                                  struct bw_error *error) BW_CHECKED;

/* Writes `mark` into the document: the change stream, which sees it go by, has seen all that was
 * written before. */
enum bw_code leader_store_mark(struct leader_store *store, const char *holder, int64_t term,
                               int64_t mark, struct bw_error *error) BW_CHECKED;

/* Says since when which protocols have no grader that is alive (0: there is one); with the term,
 * since earlier versions neither say nor remove it. */
enum bw_code leader_store_note_graders(struct leader_store *store, const char *holder, int64_t term,
                                       const int64_t no_grader_since_ms[PROTOCOLS],
                                       struct bw_error *error) BW_CHECKED;

/* What the document says, for those who do not lead. A document that is not there has an empty
 * holder. */
enum bw_code leader_store_look(struct leader_store *store, struct leader *leader,
                               struct bw_error *error) BW_CHECKED;

/* For the change stream. */
bool leader_from_document(const bson_t *document, struct leader *leader);

#endif
