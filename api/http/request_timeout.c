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
    atomic_bool has_begun;       /* a request, of which something came */
    _Atomic int64_t deadline_ms; /* never: nothing is waited for */
    uint64_t received;           /* of the body; for the thread that serves it */
    struct timed_request *prev, *next;
};

struct timeout {
    struct request_timeout_settings settings;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows */
    struct timed_request *timed_requests;
};

/* ---- One connection ---- */

static void wait_anew(struct timed_request *timed_request, int64_t more_ms)
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
    wait_anew(timed_request, 0);
}

int64_t request_timeout_earned(uint64_t received, size_t bytes)
{
    uint64_t part = received / REQUEST_TIMEOUT_PART;
    return (int64_t)(bytes * 1000 / (part > REQUEST_TIMEOUT_BYTES ? part : REQUEST_TIMEOUT_BYTES));
}

/* What comes fast earns no more than the time that is allowed, from now on. */
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
    wait_anew(timed_request, REQUEST_TIMEOUT_IDLE_MS);
}

/* ---- All of them ---- */

static bool is_unfinished(struct timed_request *timed_request)
{
    return atomic_load(&timed_request->has_begun) &&
           atomic_load(&timed_request->deadline_ms) != never;
}

/* False: its request became whole just now. */
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

static bool is_due(struct timed_request *timed_request, int64_t deadline_ms, bool is_short,
                   int64_t now_ms)
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
        unfinished += is_unfinished(timed_request);
    bool is_short = unfinished > timeout->settings.many;
    DL_FOREACH (timeout->timed_requests, timed_request) {
        int64_t deadline_ms = atomic_load(&timed_request->deadline_ms);
        if (is_due(timed_request, deadline_ms, is_short, now_ms))
            ended += request_timeout_end(timeout, timed_request, deadline_ms);
    }
    pthread_mutex_unlock(&timeout->mutex);
    return ended;
}

struct timed_request *request_timeout_add(struct timeout *timeout, int fd, void *owner)
{
    struct timed_request *timed_request = calloc(1, sizeof *timed_request);
    if (timed_request == NULL)
        return NULL;
    timed_request->timeout = timeout;
    timed_request->fd = fd;
    timed_request->owner = owner;
    wait_anew(timed_request, 0);
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
        log_info("connections ended: no whole request came in time",
                 log_text("front", timeout->settings.name),
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
