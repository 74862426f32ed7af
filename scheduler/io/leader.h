/*
 * leader: the scheduler's own lease. Taken by compare-and-set, renewed at a third of its length by
 * a thread of its own. Trust in it counts from when the renewal was *sent*, less a margin, on a
 * clock that counts suspend: in doubt, this process no longer leads, whatever the database may say.
 *
 * A standby takes the lease when it has seen the leader's document unchanged for a whole lease on
 * its own such clock. What it saw was written by a renewal that was sent before, so the leader's
 * trust has ended by then. No two clocks are compared, and the database's takes no part.
 */
#ifndef SCHEDULER_IO_LEADER_H
#define SCHEDULER_IO_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/group_commit.h"
#include "common/store/leader_store.h"
#include "scheduler/io/inbox.h"

struct leadership;

struct leadership *leadership_new(struct leader_store *store, struct inbox *inbox,
                                  const char *holder, int64_t lease_ms);

/* Ends; a lease that is held is not given back (leadership_resign does that). NULL is fine. */
void leadership_free(struct leadership *leadership);

/* Looks once at the leader's document, and takes the lease if it is free: given back, held by this
 * very process, which does not act on it now, or unchanged for a lease (the holder's or the own,
 * the longer) since an earlier look. *leader says who leads afterwards, and in which term;
 * *is_taken: it is this process. Then renewing begins, and when trust ends, EVENT_DEPOSED is
 * posted, once, with the term as its generation. Call it several times a lease. */
enum bw_code leadership_take(struct leadership *leadership, struct leader *leader, bool *is_taken,
                             struct bw_error *error) BW_CHECKED;

/* Stops renewing; gives the lease back if `gives_back`. */
void leadership_resign(struct leadership *leadership, bool gives_back);

/* Ends trust at once and for good in this term: somebody has seen a later leader. Posts
 * EVENT_DEPOSED. */
void leadership_distrust(struct leadership *leadership);

/* May one act on it now? */
bool leadership_is_trusted(const struct leadership *leadership);

/* The same for those who act on other threads. Valid as long as the leadership. */
struct fence leadership_fence(struct leadership *leadership);

#endif
