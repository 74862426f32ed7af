/*
 * leader: the scheduler's own lease. Taken by compare-and-set, renewed at a third of its length by
 * a thread of its own. Trust in it counts from when the renewal was *sent*, less a margin, on a
 * clock that counts suspend: in doubt, this process no longer leads, whatever the database may say.
 */
#ifndef SCHEDULER_LEADER_H
#define SCHEDULER_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/group_commit.h"
#include "common/store/leader_store.h"
#include "scheduler/inbox.h"

struct leadership;

struct leadership *leadership_new(struct leader_store *store, struct inbox *inbox,
                                  const char *holder, int64_t lease_ms);

/* Ends; a lease that is held is not given back (leadership_resign does that). NULL is fine. */
void leadership_free(struct leadership *leadership);

/* Tries once to take the lease. *leader says who leads afterwards, and in which term; *is_taken: it
 * is this process. Then renewing begins, and when trust ends, EVENT_DEPOSED is posted, once, with
 * the term as its generation. */
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
