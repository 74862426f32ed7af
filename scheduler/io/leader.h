/*
 * leader: the lease that makes one scheduler the leader. It is taken by compare-and-set, and
 * renewed every third of its length by a thread of its own. Trust in the lease counts from when the
 * renewal was *sent*, less a margin, on a clock that counts suspend. When trust has ended, this
 * process no longer leads, even if the document in the database still names it.
 *
 * A standby takes the lease when it has seen the leader's document unchanged for a whole lease on
 * its own clock of that kind. The document was written by a renewal that was sent earlier, so the
 * leader's trust has ended by then. Clocks of two machines are never compared, and the database's
 * clock is not used.
 */
#ifndef SCHEDULER_IO_LEADER_H
#define SCHEDULER_IO_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/group_commit.h"
#include "common/store/leader_store.h"
#include "scheduler/io/inbox.h"

struct leadership;

/* Makes a leadership without a lease for the process `holder` (copied), with leases of `lease_ms`.
 * `store` and `inbox` must outlive it. Never NULL. */
struct leadership *leadership_new(struct leader_store *store, struct inbox *inbox,
                                  const char *holder, int64_t lease_ms);

/* Stops renewing and frees; a lease that is held is not released (leadership_resign does that).
 * NULL is allowed. */
void leadership_free(struct leadership *leadership);

/* Reads the leader's document once, and takes the lease if it is free: if it was released, if it
 * names this process (which does not lead at the time of the call), or if it is unchanged for a
 * lease (the holder's or this process's, whichever is longer) since an earlier call. *leader
 * receives the leader and the term afterwards; *is_taken: this process is the leader. In that case
 * the renewals begin, and when trust ends, EVENT_DEPOSED is posted once, with the term as its
 * generation. To be called several times per lease. */
enum bw_code leadership_take(struct leadership *leadership, struct leader *leader, bool *is_taken,
                             struct bw_error *error) BW_CHECKED;

/* Stops renewing; releases the lease if `gives_back`. */
void leadership_resign(struct leadership *leadership, bool gives_back);

/* Ends trust immediately and for the rest of this term, because a replica or the database has seen
 * a later leader. Posts EVENT_DEPOSED. */
void leadership_distrust(struct leadership *leadership);

/* True while this process may act as the leader. Any thread. */
bool leadership_is_trusted(const struct leadership *leadership);

/* leadership_is_trusted as a fence for the stores' threads. Valid as long as the leadership exists.
 */
struct fence leadership_fence(struct leadership *leadership);

#endif
