#include "api/grading/socket_inflight.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

struct token {
    int64_t number;
    UT_hash_handle hh;
};

struct socket_inflight {
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t ended;
    struct token *open; /* in order of their begin */
    int64_t last;
};

struct socket_inflight *socket_inflight_new(void)
{
    struct socket_inflight *inflight = bw_alloc(sizeof *inflight);
    pthread_mutex_init(&inflight->mutex, NULL);
    clock_condition_init(&inflight->ended);
    return inflight;
}

void socket_inflight_free(struct socket_inflight *inflight)
{
    if (inflight == NULL)
        return;
    while (inflight->open != NULL) {
        struct token *token = inflight->open;
        HASH_DEL(inflight->open, token);
        free(token);
    }
    pthread_cond_destroy(&inflight->ended);
    pthread_mutex_destroy(&inflight->mutex);
    free(inflight);
}

int64_t socket_inflight_begin(struct socket_inflight *inflight)
{
    struct token *token = bw_alloc(sizeof *token);
    pthread_mutex_lock(&inflight->mutex);
    int64_t number = token->number = ++inflight->last;
    HASH_ADD(hh, inflight->open, number, sizeof token->number, token);
    pthread_mutex_unlock(&inflight->mutex);
    return number;
}

void socket_inflight_end(struct socket_inflight *inflight, int64_t number)
{
    struct token *token;
    pthread_mutex_lock(&inflight->mutex);
    HASH_FIND(hh, inflight->open, &number, sizeof number, token);
    if (token != NULL)
        HASH_DEL(inflight->open, token);
    pthread_cond_broadcast(&inflight->ended);
    pthread_mutex_unlock(&inflight->mutex);
    free(token);
}

void socket_inflight_wait(struct socket_inflight *inflight, int64_t wait_ms)
{
    struct timespec until = clock_deadline(wait_ms);
    int result = 0;
    pthread_mutex_lock(&inflight->mutex);
    int64_t last = inflight->last;
    while (result == 0 && inflight->open != NULL && inflight->open->number <= last)
        result = pthread_cond_timedwait(&inflight->ended, &inflight->mutex, &until);
    pthread_mutex_unlock(&inflight->mutex);
}
