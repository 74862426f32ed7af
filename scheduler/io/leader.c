#include "scheduler/io/leader.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/ticker.h"

struct leadership {
    struct leader_store *store;
    struct inbox *inbox;
    char holder[WORKER_ID_SIZE];
    int64_t lease_ms;
    int64_t term;
    struct leader seen; /* the document when it last changed; only the thread that takes uses it */
    int64_t seen_ms;    /* clock_boot_ms when that was read; 0: never */
    _Atomic int64_t trusted_until_ms;
    atomic_bool is_deposed; /* final for this term: no renewal restores trust */
    struct ticker *ticker;  /* renews the lease; NULL: no lease is held */
    int64_t renewals;       /* of this term; only the ticker uses it */
};

struct leadership *leadership_new(struct leader_store *store, struct inbox *inbox,
                                  const char *holder, int64_t lease_ms)
{
    struct leadership *leadership = bw_alloc(sizeof *leadership);
    leadership->store = store;
    leadership->inbox = inbox;
    leadership->lease_ms = lease_ms;
    strncpy(leadership->holder, holder, sizeof leadership->holder - 1);
    return leadership;
}

void leadership_free(struct leadership *leadership)
{
    if (leadership == NULL)
        return;
    leadership_resign(leadership, false);
    free(leadership);
}

/* Extends trust after a renewal that was sent at `sent_ms`: by the lease's length less a tenth for
 * the clocks' drift. */
static void leadership_extend_trust(struct leadership *leadership, int64_t sent_ms)
{
    atomic_store(&leadership->trusted_until_ms,
                 sent_ms + leadership->lease_ms - leadership->lease_ms / 10);
}

bool leadership_is_trusted(const struct leadership *leadership)
{
    if (FAILPOINT_FAILS("always_trusted"))
        return true;
    return !atomic_load(&leadership->is_deposed) &&
           clock_boot_ms() < atomic_load(&leadership->trusted_until_ms);
}

void leadership_distrust(struct leadership *leadership)
{
    if (!atomic_exchange(&leadership->is_deposed, true))
        inbox_post(leadership->inbox, event_new(EVENT_DEPOSED, leadership->term));
}

static bool leadership_fence_is_open(void *context)
{
    return leadership_is_trusted(context);
}

struct fence leadership_fence(struct leadership *leadership)
{
    return (struct fence){.is_open = leadership_fence_is_open, .context = leadership};
}

/* Renews once. */
static int64_t leader_tick(void *context)
{
    struct leadership *leadership = context;
    struct bw_error unused;
    if (atomic_load(&leadership->is_deposed))
        return TICKER_END;
    bool is_held = true;
    int64_t sent_ms = clock_boot_ms();
    FAILPOINT("in_renewal");
    enum bw_code code = leader_store_renew(leadership->store, leadership->holder, leadership->term,
                                           ++leadership->renewals, leadership->lease_ms, &is_held,
                                           &unused);
    if (code == BW_OK && is_held)
        leadership_extend_trust(leadership, sent_ms);
    if (code != BW_OK)
        is_held = leadership_is_trusted(leadership);
    if (is_held)
        return leadership->lease_ms / 3;
    leadership_distrust(leadership);
    return TICKER_END;
}

/* Records the current content of the document. True: the lease may be taken. */
static bool leader_note_leader(struct leadership *leadership, const struct leader *leader)
{
    int64_t now_ms = clock_boot_ms();
    int64_t lease_ms = leader->lease_ms > leadership->lease_ms ? leader->lease_ms
                                                               : leadership->lease_ms;
    if (leadership->seen_ms == 0 || !leader_is_unchanged(&leadership->seen, leader)) {
        leadership->seen = *leader;
        leadership->seen_ms = now_ms;
    }
    return leader->is_released || strcmp(leader->holder, leadership->holder) == 0 ||
           now_ms - leadership->seen_ms >= lease_ms;
}

enum bw_code leadership_take(struct leadership *leadership, struct leader *leader, bool *is_taken,
                             struct bw_error *error)
{
    leadership_resign(leadership, false);
    *is_taken = false;
    enum bw_code code = leader_store_read(leadership->store, leader, error);
    if (code != BW_OK || !leader_note_leader(leadership, leader))
        return code;
    struct leader seen = *leader;
    int64_t sent_ms = clock_boot_ms();
    code = leader_store_take(leadership->store, leadership->holder, leadership->lease_ms, &seen,
                             leader, is_taken, error);
    if (code != BW_OK || !*is_taken)
        return code;
    memcpy(leader->no_grader_since_ms, seen.no_grader_since_ms, sizeof seen.no_grader_since_ms);
    leadership->term = leader->term;
    leadership->renewals = 0;
    atomic_store(&leadership->is_deposed, false);
    leadership_extend_trust(leadership, sent_ms);
    return ticker_open("the leader's lease", leadership->lease_ms / 3, leader_tick, leadership,
                       &leadership->ticker, error);
}

void leadership_resign(struct leadership *leadership, bool gives_back)
{
    if (leadership->ticker == NULL)
        return;
    ticker_close(leadership->ticker);
    leadership->ticker = NULL;
    atomic_store(&leadership->trusted_until_ms, 0);
    struct bw_error unused;
    if (gives_back && leader_store_release(leadership->store, leadership->holder, leadership->term,
                                           &unused) != BW_OK)
        return; /* it expires by itself */
}
