#include "scheduler/io/leader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"

struct leadership {
    struct leader_store *store;
    struct inbox *inbox;
    char holder[WORKER_ID_SIZE];
    int64_t lease_ms;
    int64_t term;
    struct leader seen; /* the document when it was last seen to change; by the taking thread */
    int64_t seen_ms;    /* when that was read, on this process's clock; 0: never */
    _Atomic int64_t trusted_until_ms;
    atomic_bool is_deposed; /* in this term: no renewal brings trust back */
    pthread_t thread;
    bool is_renewing;      /* the thread exists */
    pthread_mutex_t mutex; /* guards is_stopping */
    pthread_cond_t stopping;
    bool is_stopping;
};

struct leadership *leadership_new(struct leader_store *store, struct inbox *inbox,
                                  const char *holder, int64_t lease_ms)
{
    struct leadership *leadership = bw_alloc(sizeof *leadership);
    leadership->store = store;
    leadership->inbox = inbox;
    leadership->lease_ms = lease_ms;
    strncpy(leadership->holder, holder, sizeof leadership->holder - 1);
    pthread_mutex_init(&leadership->mutex, NULL);
    clock_condition_init(&leadership->stopping);
    return leadership;
}

void leadership_free(struct leadership *leadership)
{
    if (leadership == NULL)
        return;
    leadership_resign(leadership, false);
    pthread_cond_destroy(&leadership->stopping);
    pthread_mutex_destroy(&leadership->mutex);
    free(leadership);
}

/* What a renewal that was sent at `sent_ms` is worth: the lease less a tenth for the clocks' drift.
 */
static void trust_from(struct leadership *leadership, int64_t sent_ms)
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

static bool is_trusted(void *context)
{
    return leadership_is_trusted(context);
}

struct fence leadership_fence(struct leadership *leadership)
{
    return (struct fence){.is_open = is_trusted, .context = leadership};
}

/* Sleeps a third of the lease. False: stopping. */
static bool pause_renewing(struct leadership *leadership)
{
    struct timespec until = clock_deadline(leadership->lease_ms / 3);
    pthread_mutex_lock(&leadership->mutex);
    while (!leadership->is_stopping)
        if (pthread_cond_timedwait(&leadership->stopping, &leadership->mutex, &until) != 0)
            break;
    bool goes_on = !leadership->is_stopping;
    pthread_mutex_unlock(&leadership->mutex);
    return goes_on;
}

static void *leader_renew(void *context)
{
    struct leadership *leadership = context;
    bool is_held = true;
    int64_t renewals = 0;
    while (is_held && pause_renewing(leadership) && !atomic_load(&leadership->is_deposed)) {
        struct bw_error unused;
        int64_t sent_ms = clock_boot_ms();
        FAILPOINT("in_renewal");
        enum bw_code code = leader_store_renew(leadership->store, leadership->holder,
                                               leadership->term, ++renewals, leadership->lease_ms,
                                               &is_held, &unused);
        if (code == BW_OK && is_held)
            trust_from(leadership, MUTANT("trust_from_answer") ? clock_boot_ms() : sent_ms);
        if (code != BW_OK)
            is_held = leadership_is_trusted(leadership);
    }
    if (!is_held)
        leadership_distrust(leadership);
    return NULL;
}

/* Notes what the document says now. True: the lease may be taken. */
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
    leadership->is_stopping = false;
    atomic_store(&leadership->is_deposed, false);
    trust_from(leadership, sent_ms);
    if (pthread_create(&leadership->thread, NULL, leader_renew, leadership) != 0)
        return bw_fail(error, BW_INTERNAL,
                       "no thread could be started to renew the leader's lease");
    leadership->is_renewing = true;
    return BW_OK;
}

void leadership_resign(struct leadership *leadership, bool gives_back)
{
    if (!leadership->is_renewing)
        return;
    pthread_mutex_lock(&leadership->mutex);
    leadership->is_stopping = true;
    pthread_cond_signal(&leadership->stopping);
    pthread_mutex_unlock(&leadership->mutex);
    pthread_join(leadership->thread, NULL);
    leadership->is_renewing = false;
    atomic_store(&leadership->trusted_until_ms, 0);
    struct bw_error unused;
    if (gives_back && leader_store_release(leadership->store, leadership->holder, leadership->term,
                                           &unused) != BW_OK)
        return; /* it expires by itself */
}
