#include "api/uplink/replica_heartbeat.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum { AWAY_PAUSE_MS = 250 }; /* from one look at a database that is away to the next */

struct heartbeat {
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
static bool live_a_round(struct heartbeat *heartbeat)
{
    struct bw_error error;
    bool was_away = database_is_away(heartbeat->database);
    enum bw_code code = database_probe(heartbeat->database, &error);
    if (code == BW_OK && was_away)
        log_event(LOG_LEVEL_INFO, "the database is back");
    if (code != BW_OK && !was_away)
        log_error("the database is away", log_text("reason", error.message));
    return code == BW_OK &&
           replica_store_announce(heartbeat->store, &heartbeat->replica, &error) == BW_OK;
}

static bool sleep_until(struct heartbeat *heartbeat, int64_t next_ms)
{
    pthread_mutex_lock(&heartbeat->mutex);
    int64_t wait_ms = next_ms - clock_boot_ms();
    while (!heartbeat->is_stopping && wait_ms > 0) {
        struct timespec until = clock_deadline(wait_ms);
        pthread_cond_timedwait(&heartbeat->stop, &heartbeat->mutex, &until);
        wait_ms = next_ms - clock_boot_ms();
    }
    bool is_over = heartbeat->is_stopping;
    pthread_mutex_unlock(&heartbeat->mutex);
    return !is_over;
}

static void *replica_heartbeat_run(void *context)
{
    struct heartbeat *heartbeat = context;
    int64_t next_ms;
    do {
        int64_t begun_ms = clock_boot_ms();
        bool is_reachable = live_a_round(heartbeat);
        atomic_store(&heartbeat->is_reachable, is_reachable);
        next_ms = is_reachable ? begun_ms + heartbeat->every_ms : clock_boot_ms() + AWAY_PAUSE_MS;
    } while (sleep_until(heartbeat, next_ms));
    return NULL;
}

static void replica_heartbeat_free(struct heartbeat *heartbeat)
{
    pthread_cond_destroy(&heartbeat->stop);
    pthread_mutex_destroy(&heartbeat->mutex);
    free(heartbeat);
}

enum bw_code replica_heartbeat_open(struct database *database, struct replica_store *store,
                                    const struct replica *replica, int64_t every_ms,
                                    struct heartbeat **heartbeat, struct bw_error *error)
{
    struct heartbeat *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->database = database;
    self->store = store;
    self->replica = *replica;
    self->every_ms = every_ms;
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->stop);
    if (pthread_create(&self->thread, NULL, replica_heartbeat_run, self) != 0) {
        replica_heartbeat_free(self);
        return bw_fail(error, BW_INTERNAL, "the thread of the signs of life can't be started");
    }
    *heartbeat = self;
    return BW_OK;
}

void replica_heartbeat_close(struct heartbeat *heartbeat)
{
    if (heartbeat == NULL)
        return;
    pthread_mutex_lock(&heartbeat->mutex);
    heartbeat->is_stopping = true;
    pthread_cond_signal(&heartbeat->stop);
    pthread_mutex_unlock(&heartbeat->mutex);
    pthread_join(heartbeat->thread, NULL);
    struct bw_error error; /* if it stays behind, it is recognised by its age */
    if (replica_store_remove(heartbeat->store, heartbeat->replica.id, heartbeat->replica.process,
                             &error) != BW_OK)
        atomic_store(&heartbeat->is_reachable, false);
    replica_heartbeat_free(heartbeat);
}

bool replica_heartbeat_is_database_reachable(const struct heartbeat *heartbeat)
{
    return atomic_load(&heartbeat->is_reachable);
}
