#include "api/http/request_timeout.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/ticker.h"

enum { SWEEP_MS = 1000 };

static const int64_t never = INT64_MAX;

struct timed_request {
    const struct timeout *timeout;
    int fd;
    void *owner;
    atomic_bool has_begun;       /* a request has begun */
    _Atomic int64_t deadline_ms; /* clock_boot_ms; never: no limit */
    uint64_t received;           /* bytes of the body; for the thread that serves the connection */
    int64_t left_ms;             /* remaining time while paused; never: there was no limit */
    struct timed_request *prev, *next;
};

struct timeout {
    struct request_timeout_settings settings;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows */
    struct timed_request *timed_requests;
};

/* ---- One connection ---- */

static void timed_request_start(struct timed_request *timed_request, int64_t more_ms)
{
    int64_t request_ms = timed_request->timeout->settings.request_ms;
    atomic_store(&timed_request->deadline_ms, clock_boot_ms() + request_ms + more_ms);
}

void timed_request_begin(struct timed_request *timed_request)
{
    if (timed_request == NULL)
        return;
    atomic_store(&timed_request->has_begun, true);
    timed_request->received = 0;
    timed_request_start(timed_request, 0);
}

int64_t request_timeout_earned(uint64_t received, size_t bytes)
{
    uint64_t part = received / REQUEST_TIMEOUT_PART;
    return (int64_t)(bytes * 1000 / (part > REQUEST_TIMEOUT_BYTES ? part : REQUEST_TIMEOUT_BYTES));
}

/* The remaining time never exceeds the configured time. */
void timed_request_receive(struct timed_request *timed_request, size_t bytes)
{
    if (timed_request == NULL)
        return;
    int64_t deadline_ms = atomic_load(&timed_request->deadline_ms);
    if (deadline_ms == never)
        return;
    int64_t earned_ms = deadline_ms + request_timeout_earned(timed_request->received, bytes);
    timed_request->received += bytes;
    int64_t most_ms = clock_boot_ms() + timed_request->timeout->settings.request_ms;
    atomic_compare_exchange_strong(&timed_request->deadline_ms, &deadline_ms,
                                   earned_ms < most_ms ? earned_ms : most_ms);
}

void timed_request_limit(struct timed_request *timed_request, int64_t wait_ms)
{
    if (timed_request == NULL)
        return;
    int64_t deadline_ms = atomic_load(&timed_request->deadline_ms);
    int64_t earlier_ms = clock_boot_ms() + wait_ms;
    if (earlier_ms < deadline_ms)
        atomic_compare_exchange_strong(&timed_request->deadline_ms, &deadline_ms, earlier_ms);
}

void timed_request_pause(struct timed_request *timed_request)
{
    if (timed_request == NULL)
        return;
    int64_t deadline_ms = atomic_exchange(&timed_request->deadline_ms, never);
    timed_request->left_ms = deadline_ms == never ? never : deadline_ms - clock_boot_ms();
}

void timed_request_resume(struct timed_request *timed_request)
{
    if (timed_request != NULL && timed_request->left_ms != never)
        atomic_store(&timed_request->deadline_ms, clock_boot_ms() + timed_request->left_ms);
}

void timed_request_finish(struct timed_request *timed_request)
{
    if (timed_request != NULL)
        atomic_store(&timed_request->deadline_ms, never);
}

void timed_request_rest(struct timed_request *timed_request)
{
    if (timed_request == NULL)
        return;
    atomic_store(&timed_request->has_begun, false);
    timed_request_start(timed_request, REQUEST_TIMEOUT_IDLE_MS);
}

/* ---- All connections ---- */

static bool timed_request_is_unfinished(struct timed_request *timed_request)
{
    return atomic_load(&timed_request->has_begun) &&
           atomic_load(&timed_request->deadline_ms) != never;
}

/* Closes the connection. False: its request was completed in the meantime. */
static bool request_timeout_end(const struct timeout *timeout, struct timed_request *timed_request,
                                int64_t deadline_ms)
{
    if (!atomic_compare_exchange_strong(&timed_request->deadline_ms, &deadline_ms, never))
        return false;
    if (atomic_load(&timed_request->has_begun))
        timeout->settings.refuse(timed_request->fd, timed_request->owner);
    shutdown(timed_request->fd, SHUT_RDWR);
    return true;
}

static bool timed_request_is_due(struct timed_request *timed_request, int64_t deadline_ms,
                                 bool is_short, int64_t now_ms)
{
    int64_t begun_ms = deadline_ms - timed_request->timeout->settings.request_ms;
    if (deadline_ms == never)
        return false;
    if (is_short && atomic_load(&timed_request->has_begun) &&
        now_ms >= begun_ms + REQUEST_TIMEOUT_SHORT_MS)
        return true;
    return now_ms >= deadline_ms;
}

size_t request_timeout_sweep(struct timeout *timeout, int64_t now_ms)
{
    size_t unfinished = 0, ended = 0;
    struct timed_request *timed_request;
    pthread_mutex_lock(&timeout->mutex);
    DL_FOREACH (timeout->timed_requests, timed_request)
        unfinished += timed_request_is_unfinished(timed_request);
    bool is_short = unfinished > timeout->settings.many;
    DL_FOREACH (timeout->timed_requests, timed_request) {
        int64_t deadline_ms = atomic_load(&timed_request->deadline_ms);
        if (timed_request_is_due(timed_request, deadline_ms, is_short, now_ms))
            ended += request_timeout_end(timeout, timed_request, deadline_ms);
    }
    pthread_mutex_unlock(&timeout->mutex);
    return ended;
}

struct timed_request *request_timeout_add(struct timeout *timeout, int fd, void *owner)
{
    struct timed_request *timed_request = bw_alloc(sizeof *timed_request);
    timed_request->timeout = timeout;
    timed_request->fd = fd;
    timed_request->owner = owner;
    timed_request_start(timed_request, 0);
    pthread_mutex_lock(&timeout->mutex);
    DL_APPEND(timeout->timed_requests, timed_request);
    pthread_mutex_unlock(&timeout->mutex);
    return timed_request;
}

void request_timeout_remove(struct timeout *timeout, struct timed_request *timed_request)
{
    if (timed_request == NULL)
        return;
    pthread_mutex_lock(&timeout->mutex);
    DL_DELETE(timeout->timed_requests, timed_request);
    pthread_mutex_unlock(&timeout->mutex);
    free(timed_request);
}

static int64_t request_timeout_tick(void *context)
{
    struct timeout *timeout = context;
    size_t ended = request_timeout_sweep(timeout, clock_boot_ms());
    if (ended > 0)
        log_info("connections closed: no complete request arrived in time",
                 log_text("server", timeout->settings.name),
                 log_number("connections", (int64_t)ended));
    return SWEEP_MS;
}

static void request_timeout_free(struct timeout *timeout)
{
    pthread_mutex_destroy(&timeout->mutex);
    free(timeout);
}

enum bw_code request_timeout_open(const struct request_timeout_settings *settings,
                                  struct timeout **timeout, struct bw_error *error)
{
    struct timeout *self = bw_alloc(sizeof *self);
    self->settings = *settings;
    pthread_mutex_init(&self->mutex, NULL);
    enum bw_code code = ticker_open("requests that are too slow", SWEEP_MS, request_timeout_tick,
                                    self, &self->ticker, error);
    if (code != BW_OK)
        request_timeout_free(self);
    else
        *timeout = self;
    return code;
}

void request_timeout_close(struct timeout *timeout)
{
    if (timeout == NULL)
        return;
    ticker_close(timeout->ticker);
    request_timeout_free(timeout);
}
