#include "api/grading/missing_graders.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/store/leader_store.h"

enum { FRESH_MS = 1000 };

struct missing_graders {
    struct database *database;
    struct leader_store *store;
    pthread_mutex_t mutex; /* guards what follows */
    struct leader leader;  /* as last read */
    int64_t read_ms;       /* 0: never */
};

struct missing_graders *missing_graders_new(struct database *database)
{
    struct missing_graders *presence = bw_alloc(sizeof *presence);
    struct bw_error unused;
    if (leader_store_open(database, &presence->store, &unused) != BW_OK)
        abort();
    presence->database = database;
    pthread_mutex_init(&presence->mutex, NULL);
    return presence;
}

void missing_graders_free(struct missing_graders *presence)
{
    if (presence == NULL)
        return;
    leader_store_close(presence->store);
    pthread_mutex_destroy(&presence->mutex);
    free(presence);
}

/* Reads the leader's document. Several threads may do so at the same time, so that a slow read does
 * not block the others. */
static void presence_refresh(struct missing_graders *presence)
{
    struct leader leader;
    struct bw_error unused;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&presence->mutex);
    bool is_fresh = presence->read_ms != 0 && now_ms - presence->read_ms < FRESH_MS;
    pthread_mutex_unlock(&presence->mutex);
    if (is_fresh || leader_store_peek(presence->store, &leader, &unused) != BW_OK)
        return;
    pthread_mutex_lock(&presence->mutex);
    presence->leader = leader;
    presence->read_ms = now_ms;
    pthread_mutex_unlock(&presence->mutex);
}

/* Whether no grader of the run's protocol can take jobs, for `least_ms` at least; fills `faulty`
 * with those that are alive. */
static bool missing_graders_are_missing(struct missing_graders *presence, const struct run *run,
                                        int64_t least_ms, struct faulty_workers *faulty)
{
    if (run->started_ms == 0 || run->cancelled_ms != 0 || run->finished_ms != 0)
        return false;
    presence_refresh(presence);
    pthread_mutex_lock(&presence->mutex);
    int64_t since_ms = presence->leader.no_grader_since_ms[run->protocol];
    *faulty = presence->leader.faulty[run->protocol];
    pthread_mutex_unlock(&presence->mutex);
    int64_t waits_ms = since_ms > run->started_ms ? since_ms : run->started_ms;
    return since_ms != 0 && database_now_ms(presence->database) - waits_ms >= least_ms;
}

static void missing_graders_say(enum protocol protocol, const struct faulty_workers *faulty,
                                char text[WAITING_SIZE])
{
    const char *title = protocol_title(protocol);
    if (faulty->count == 0)
        snprintf(text, WAITING_SIZE, "no grader of the %s protocol is alive", title);
    else if (faulty->count == 1)
        snprintf(text, WAITING_SIZE, "1 grader of the %s protocol is alive, but can't work: %s",
                 title, faulty->fault);
    else
        snprintf(text, WAITING_SIZE,
                 "%" PRIu32 " graders of the %s protocol are alive, but can't work: %s",
                 faulty->count, title, faulty->fault);
}

const char *missing_graders_waiting(struct missing_graders *presence, const struct run *run,
                                    const struct run_facts_found *found, int64_t least_ms,
                                    char text[WAITING_SIZE])
{
    struct faulty_workers faulty;
    if (run_status_has_queued(run, found->jobs) &&
        missing_graders_are_missing(presence, run, least_ms, &faulty))
        missing_graders_say(run->protocol, &faulty, text);
    else if (run_status_has_returned(run, found->jobs))
        snprintf(text, WAITING_SIZE, "a grader returned a job, which waits for another one: %s",
                 found->reason);
    else
        return NULL;
    return text;
}
