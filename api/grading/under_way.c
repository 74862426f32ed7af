#include "api/grading/under_way.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

struct ticket {
    int64_t number;
    UT_hash_handle hh;
};

struct under_way {
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t ended;
    struct ticket *open; /* in the order in which they began */
    int64_t last;
};

struct under_way *under_way_new(void)
{
    struct under_way *under_way = bw_alloc(sizeof *under_way);
    pthread_mutex_init(&under_way->mutex, NULL);
    clock_condition_init(&under_way->ended);
    return under_way;
}

void under_way_free(struct under_way *under_way)
{
    if (under_way == NULL)
        return;
    while (under_way->open != NULL) {
        struct ticket *ticket = under_way->open;
        HASH_DEL(under_way->open, ticket);
        free(ticket);
    }
    pthread_cond_destroy(&under_way->ended);
    pthread_mutex_destroy(&under_way->mutex);
    free(under_way);
}

int64_t under_way_begin(struct under_way *under_way)
{
    struct ticket *ticket = bw_alloc(sizeof *ticket);
    pthread_mutex_lock(&under_way->mutex);
    int64_t number = ticket->number = ++under_way->last;
    HASH_ADD(hh, under_way->open, number, sizeof ticket->number, ticket);
    pthread_mutex_unlock(&under_way->mutex);
    return number;
}

void under_way_end(struct under_way *under_way, int64_t number)
{
    struct ticket *ticket;
    pthread_mutex_lock(&under_way->mutex);
    HASH_FIND(hh, under_way->open, &number, sizeof number, ticket);
    if (ticket != NULL)
        HASH_DEL(under_way->open, ticket);
    pthread_cond_broadcast(&under_way->ended);
    pthread_mutex_unlock(&under_way->mutex);
    free(ticket);
}

void under_way_wait(struct under_way *under_way, int64_t wait_ms)
{
    struct timespec until = clock_deadline(wait_ms);
    int result = 0;
    pthread_mutex_lock(&under_way->mutex);
    int64_t last = under_way->last;
    while (result == 0 && under_way->open != NULL && under_way->open->number <= last)
        result = pthread_cond_timedwait(&under_way->ended, &under_way->mutex, &until);
    pthread_mutex_unlock(&under_way->mutex);
}
