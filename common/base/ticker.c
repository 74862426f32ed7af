#include "common/base/alloc.h"
#include "common/base/ticker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/clock.h"

struct ticker {
    ticker_function *tick;
    void *context;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t changed;
    int64_t wait_ms; /* until the next call; the thread alone touches it after the start */
    bool is_closing, is_woken;
};

/* Waits until the next call is due. False: the ticker is closed. `mutex` is held. */
static bool ticker_wait(struct ticker *ticker, int64_t wait_ms)
{
    struct timespec until = clock_deadline(wait_ms > 0 ? wait_ms : 0);
    int result = 0;
    while (!ticker->is_closing && !ticker->is_woken && result != ETIMEDOUT) {
        if (wait_ms == TICKER_IDLE)
            pthread_cond_wait(&ticker->changed, &ticker->mutex);
        else
            result = pthread_cond_timedwait(&ticker->changed, &ticker->mutex, &until);
    }
    ticker->is_woken = false;
    return !ticker->is_closing;
}

static void *ticker_run(void *context)
{
    struct ticker *ticker = context;
    pthread_mutex_lock(&ticker->mutex);
    while (ticker->wait_ms != TICKER_END && ticker_wait(ticker, ticker->wait_ms)) {
        pthread_mutex_unlock(&ticker->mutex);
        ticker->wait_ms = ticker->tick(ticker->context);
        pthread_mutex_lock(&ticker->mutex);
    }
    pthread_mutex_unlock(&ticker->mutex);
    return NULL;
}

static void ticker_free(struct ticker *ticker)
{
    pthread_cond_destroy(&ticker->changed);
    pthread_mutex_destroy(&ticker->mutex);
    free(ticker);
}

enum bw_code ticker_open(const char *what, int64_t first_ms, ticker_function *tick, void *context,
                         struct ticker **ticker, struct bw_error *error)
{
    struct ticker *opened = bw_alloc(sizeof *opened);
    opened->wait_ms = first_ms;
    opened->tick = tick;
    opened->context = context;
    pthread_mutex_init(&opened->mutex, NULL);
    clock_condition_init(&opened->changed);
    if (pthread_create(&opened->thread, NULL, ticker_run, opened) != 0) {
        ticker_free(opened);
        return bw_fail(error, BW_INTERNAL, "no thread could be started for %s", what);
    }
    *ticker = opened;
    return BW_OK;
}

void ticker_wake(struct ticker *ticker)
{
    pthread_mutex_lock(&ticker->mutex);
    ticker->is_woken = true;
    pthread_cond_signal(&ticker->changed);
    pthread_mutex_unlock(&ticker->mutex);
}

void ticker_close(struct ticker *ticker)
{
    if (ticker == NULL)
        return;
    pthread_mutex_lock(&ticker->mutex);
    ticker->is_closing = true;
    pthread_cond_signal(&ticker->changed);
    pthread_mutex_unlock(&ticker->mutex);
    pthread_join(ticker->thread, NULL);
    ticker_free(ticker);
}
