#include "api/grading/grader_presence.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/store/leader_store.h"

enum { FRESH_MS = 1000 };

struct grader_presence {
    struct database *database;
    struct leader_store *store;
    pthread_mutex_t mutex; /* guards what follows */
    struct leader leader;  /* as it was read last */
    int64_t read_ms;       /* 0: never */
};

static const char *const sentences[PROTOCOLS] = {
    [PROTOCOL_CLASSIC] = "no grader of the classic protocol is alive",
    [PROTOCOL_COURSE] = "no grader of the course protocol is alive",
};

struct grader_presence *grader_presence_new(struct database *database)
{
    struct grader_presence *presence = calloc(1, sizeof *presence);
    struct bw_error unused;
    if (presence == NULL || leader_store_open(database, &presence->store, &unused) != BW_OK)
        abort();
    presence->database = database;
    pthread_mutex_init(&presence->mutex, NULL);
    return presence;
}

void grader_presence_free(struct grader_presence *presence)
{
    if (presence == NULL)
        return;
    leader_store_close(presence->store);
    pthread_mutex_destroy(&presence->mutex);
    free(presence);
}

/* Several threads may read at once: better than one that holds the others up. */
static void presence_refresh(struct grader_presence *presence)
{
    struct leader leader;
    struct bw_error unused;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&presence->mutex);
    bool is_fresh = presence->read_ms != 0 && now_ms - presence->read_ms < FRESH_MS;
    pthread_mutex_unlock(&presence->mutex);
    if (is_fresh || leader_store_look(presence->store, &leader, &unused) != BW_OK)
        return;
    pthread_mutex_lock(&presence->mutex);
    presence->leader = leader;
    presence->read_ms = now_ms;
    pthread_mutex_unlock(&presence->mutex);
}

const char *grader_presence_missing(struct grader_presence *presence, const struct run *run,
                                    int64_t least_ms)
{
    enum protocol protocol = run->course[0] != '\0' ? PROTOCOL_COURSE : PROTOCOL_CLASSIC;
    if (run->started_ms == 0 || run->cancelled_ms != 0 || run->finished_ms != 0)
        return NULL;
    presence_refresh(presence);
    pthread_mutex_lock(&presence->mutex);
    int64_t since_ms = presence->leader.no_grader_since_ms[protocol];
    pthread_mutex_unlock(&presence->mutex);
    int64_t waits_ms = since_ms > run->started_ms ? since_ms : run->started_ms;
    bool is_missing = since_ms != 0 && database_now_ms(presence->database) - waits_ms >= least_ms;
    return is_missing ? sentences[protocol] : NULL;
}
