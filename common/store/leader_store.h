/*
 * leader_store: collection leader: one document: holder, term, renewals, lease_ms, expires_at. The
 * scheduler's own lease. Safe from any thread.
 *
 * Leadership does not depend on dates. Each renewal writes the next number into `renewals`, so the
 * document changes as long as its holder is alive, and a standby takes it by a compare-and-set on
 * the document that it saw. The caller decides how long a standby must see no change
 * (scheduler/io/leader.h). expires_at is written for earlier versions, which use it; here it is
 * only compared for equality.
 */
#ifndef COMMON_STORE_LEADER_STORE_H
#define COMMON_STORE_LEADER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/worker_fault.h"

struct leader_store;

struct leader {
    char holder[WORKER_ID_SIZE];
    int64_t term;
    int64_t renewals;   /* -1: a document of an earlier version, which has none */
    int64_t expires_ms; /* database date */
    int64_t lease_ms;   /* the holder's; 0: unknown */
    bool is_released;   /* the lease is free */
    /* By enum protocol: since when no grader of it is alive without a fault (database date); 0: one
     * is, or the leader of this term has not recorded it yet. */
    int64_t no_grader_since_ms[PROTOCOLS];
    struct faulty_workers faulty[PROTOCOLS]; /* of those protocols */
    int64_t mark; /* written by recovery: a number that the change stream waits for */
};

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code leader_store_open(struct database *database, struct leader_store **store,
                               struct bw_error *error) BW_CHECKED;
void leader_store_close(struct leader_store *store);

/* Reads the leader; creates the document, released, if there is none. Also samples the database's
 * clock. */
enum bw_code leader_store_read(struct leader_store *store, struct leader *leader,
                               struct bw_error *error) BW_CHECKED;

/* Whether the document was unchanged between these two reads. */
bool leader_is_unchanged(const struct leader *former, const struct leader *leader);

/* Takes the lease if the document is unchanged since it was `seen`; each takeover raises the term.
 * *leader is the leader afterwards; *is_taken: it is the caller. */
enum bw_code leader_store_take(struct leader_store *store, const char *holder, int64_t lease_ms,
                               const struct leader *seen, struct leader *leader, bool *is_taken,
                               struct bw_error *error) BW_CHECKED;

/* Renews the caller's lease for the `renewals`-th time of its term. *held false: another scheduler
 * holds it now. */
enum bw_code leader_store_renew(struct leader_store *store, const char *holder, int64_t term,
                                int64_t renewals, int64_t lease_ms, bool *held,
                                struct bw_error *error) BW_CHECKED;

/* Releases it with a mark, so that the next leader need not wait. */
enum bw_code leader_store_release(struct leader_store *store, const char *holder, int64_t term,
                                  struct bw_error *error) BW_CHECKED;

/* Writes `mark` into the document: when the change stream delivers it, the stream has delivered all
 * earlier writes. */
enum bw_code leader_store_mark(struct leader_store *store, const char *holder, int64_t term,
                               int64_t mark, struct bw_error *error) BW_CHECKED;

/* Records since when each protocol has no grader that is alive without a fault (0: it has one), and
 * which of it have a fault; with the term, since earlier versions neither write nor remove it. */
enum bw_code leader_store_note_graders(struct leader_store *store, const char *holder, int64_t term,
                                       const int64_t no_grader_since_ms[PROTOCOLS],
                                       const struct faulty_workers faulty[PROTOCOLS],
                                       struct bw_error *error) BW_CHECKED;

/* Reads the document, for processes that do not lead. Without a document the holder is empty. */
enum bw_code leader_store_peek(struct leader_store *store, struct leader *leader,
                               struct bw_error *error) BW_CHECKED;

/* For the change stream. */
bool leader_from_document(const bson_t *document, struct leader *leader);

#endif
