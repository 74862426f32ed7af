#include "api/uplink/replica_heartbeat.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum { AWAY_PAUSE_MS = 250 }; /* from one look at a database that is away to the next */

struct life {
    struct database *database;
    struct replica_store *store;
    struct replica replica;
    int64_t every_ms;
    atomic_bool is_reachable;
    pthread_t thread;
    pthread_cond_t stop;
    pthread_mutex_t mutex; /* guards is_stopping */
    bool is_stopping;
};

/* The probe is what tells everyone else here that the database is away, or back. */
static bool live_a_round(struct life *life)
{
    struct bw_error error;
    bool was_away = database_is_away(life->database);
    enum bw_code code = database_probe(life->database, &error);
    if (code == BW_OK && was_away)
        log_event(LOG_LEVEL_INFO, "the database is back");
    if (code != BW_OK && !was_away)
        log_error("the database is away", log_text("reason", error.message));
    return code == BW_OK && replica_store_announce(life->store, &life->replica, &error) == BW_OK;
}

static bool sleep_until(struct life *life, int64_t next_ms)
{
    pthread_mutex_lock(&life->mutex);
    int64_t wait_ms = next_ms - clock_boot_ms();
    while (!life->is_stopping && wait_ms > 0) {
        struct timespec until = clock_deadline(wait_ms);
        pthread_cond_timedwait(&life->stop, &life->mutex, &until);
        wait_ms = next_ms - clock_boot_ms();
    }
    bool is_over = life->is_stopping;
    pthread_mutex_unlock(&life->mutex);
    return !is_over;
}

static void *run(void *context)
{
    struct life *life = context;
    int64_t next_ms;
    do {
        int64_t begun_ms = clock_boot_ms();
        bool is_reachable = live_a_round(life);
        atomic_store(&life->is_reachable, is_reachable);
        next_ms = is_reachable ? begun_ms + life->every_ms : clock_boot_ms() + AWAY_PAUSE_MS;
    } while (sleep_until(life, next_ms));
    return NULL;
}

static void life_free(struct life *life)
{
    pthread_cond_destroy(&life->stop);
    pthread_mutex_destroy(&life->mutex);
    free(life);
}

enum bw_code life_open(struct database *database, struct replica_store *store,
                       const struct replica *replica, int64_t every_ms, struct life **life,
                       struct bw_error *error)
{
    struct life *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->database = database;
    self->store = store;
    self->replica = *replica;
    self->every_ms = every_ms;
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->stop);
    if (pthread_create(&self->thread, NULL, run, self) != 0) {
        life_free(self);
        return bw_fail(error, BW_INTERNAL, "the thread of the signs of life can't be started");
    }
    *life = self;
    return BW_OK;
}

void life_close(struct life *life)
{
    if (life == NULL)
        return;
    pthread_mutex_lock(&life->mutex);
    life->is_stopping = true;
    pthread_cond_signal(&life->stop);
    pthread_mutex_unlock(&life->mutex);
    pthread_join(life->thread, NULL);
    struct bw_error error; /* if it stays behind, it is recognised by its age */
    if (replica_store_remove(life->store, life->replica.id, life->replica.process, &error) != BW_OK)
        atomic_store(&life->is_reachable, false);
    life_free(life);
}

bool life_is_database_reachable(const struct life *life)
{
    return atomic_load(&life->is_reachable);
}
