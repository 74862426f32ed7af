#include "api/uplink/scheduler_queries.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "api/uplink/signals.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { ASK_AGAIN_MS = 1000, LOOK_MS = 200 };

struct open_query {
    int64_t number;
    struct query query;
    int64_t asked_ms, expires_ms;
    struct open_query *next; /* in a list of those that were just removed */
    UT_hash_handle hh;
};

struct queries {
    struct signals *signals;
    pthread_t timer;
    pthread_cond_t wake;
    pthread_mutex_t mutex; /* guards what follows */
    struct open_query *open;
    int64_t last_number;
    bool is_closing;
};

/* Outside the mutex or under it: signals never calls back. */
static void ask_scheduler(struct queries *queries, const struct open_query *open)
{
    struct signal_query row = {
        .number = open->number, .kind = open->query.kind, .epoch = open->query.epoch};
    snprintf(row.subject, sizeof row.subject, "%s", open->query.subject);
    signals_query(queries->signals, &row);
}

void scheduler_queries_ask(struct queries *queries, const struct query *query)
{
    struct open_query *open = bw_alloc(sizeof *open);
    open->query = *query;
    open->asked_ms = clock_boot_ms();
    open->expires_ms = open->asked_ms + query->request_timeout_ms;
    pthread_mutex_lock(&queries->mutex);
    bool is_closing = queries->is_closing;
    if (!is_closing) {
        open->number = ++queries->last_number;
        HASH_ADD(hh, queries->open, number, sizeof open->number, open);
        ask_scheduler(queries, open);
        pthread_cond_signal(&queries->wake);
    }
    pthread_mutex_unlock(&queries->mutex);
    if (!is_closing)
        return;
    query->answered(BW_UNAVAILABLE, NULL, query->context);
    free(open);
}

void scheduler_queries_answer(struct queries *queries, int64_t number, const json_t *answer)
{
    struct open_query *open;
    pthread_mutex_lock(&queries->mutex);
    HASH_FIND(hh, queries->open, &number, sizeof number, open);
    if (open != NULL)
        HASH_DELETE(hh, queries->open, open);
    pthread_mutex_unlock(&queries->mutex);
    if (open == NULL)
        return;
    open->query.answered(BW_OK, answer, open->query.context);
    free(open);
}

/* Asks again what has waited; takes out what has waited too long (all, if closing). */
static struct open_query *scheduler_queries_look(struct queries *queries, int64_t now_ms)
{
    struct open_query *open, *following, *expired = NULL;
    HASH_ITER (hh, queries->open, open, following) {
        if (queries->is_closing || now_ms >= open->expires_ms) {
            HASH_DELETE(hh, queries->open, open);
            open->next = expired;
            expired = open;
        } else if (now_ms - open->asked_ms >= ASK_AGAIN_MS) {
            open->asked_ms = now_ms;
            ask_scheduler(queries, open);
        }
    }
    return expired;
}

static void give_up(struct open_query *expired)
{
    while (expired != NULL) {
        struct open_query *open = expired;
        expired = open->next;
        open->query.answered(BW_UNAVAILABLE, NULL, open->query.context);
        free(open);
    }
}

static void *scheduler_queries_run_timer(void *context)
{
    struct queries *queries = context;
    pthread_mutex_lock(&queries->mutex);
    while (!queries->is_closing || queries->open != NULL) {
        struct open_query *expired = scheduler_queries_look(queries, clock_boot_ms());
        if (expired != NULL) {
            pthread_mutex_unlock(&queries->mutex);
            give_up(expired);
            pthread_mutex_lock(&queries->mutex);
            continue;
        }
        if (queries->is_closing)
            break;
        if (queries->open == NULL) {
            pthread_cond_wait(&queries->wake, &queries->mutex);
            continue;
        }
        struct timespec until = clock_deadline(LOOK_MS);
        pthread_cond_timedwait(&queries->wake, &queries->mutex, &until);
    }
    pthread_mutex_unlock(&queries->mutex);
    return NULL;
}

enum bw_code scheduler_queries_open(struct signals *signals, struct queries **queries,
                                    struct bw_error *error)
{
    struct queries *opened = bw_alloc(sizeof *opened);
    opened->signals = signals;
    pthread_mutex_init(&opened->mutex, NULL);
    clock_condition_init(&opened->wake);
    if (pthread_create(&opened->timer, NULL, scheduler_queries_run_timer, opened) != 0) {
        pthread_cond_destroy(&opened->wake);
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return bw_fail(error, BW_INTERNAL, "the thread of the questions can't be started");
    }
    *queries = opened;
    return BW_OK;
}

void scheduler_queries_close(struct queries *queries)
{
    if (queries == NULL)
        return;
    pthread_mutex_lock(&queries->mutex);
    queries->is_closing = true;
    pthread_cond_signal(&queries->wake);
    pthread_mutex_unlock(&queries->mutex);
    pthread_join(queries->timer, NULL);
    pthread_cond_destroy(&queries->wake);
    pthread_mutex_destroy(&queries->mutex);
    free(queries);
}
