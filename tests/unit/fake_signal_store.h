/*
 * fake_signal_store: a fake of signal_store that keeps the signals sent to it, and fails on demand.
 * For unit tests of signals. Include once per test program.
 */
#ifndef TESTS_UNIT_FAKE_SIGNAL_STORE_H
#define TESTS_UNIT_FAKE_SIGNAL_STORE_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/store/signal_store.h"

enum { FAKE_SIGNALS = 4096 };

static struct {
    pthread_mutex_t mutex;
    struct signal sent[FAKE_SIGNALS]; /* copies */
    size_t count;                     /* number of tries */
    bool is_failing;
    bool is_held; /* a send waits until this is false */
} fake_store = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void *fake_copy(const void *from, size_t size)
{
    void *copy = malloc(size + 1);
    if (copy != NULL && size > 0)
        memcpy(copy, from, size);
    return copy;
}

static inline void fake_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static inline enum bw_code fake_send(struct signal_store *store, const struct signal *signal,
                                     int64_t try_ms, struct bw_error *error)
{
    (void)store;
    (void)try_ms;
    pthread_mutex_lock(&fake_store.mutex);
    struct signal *kept = &fake_store.sent[fake_store.count];
    *kept = *signal;
    kept->polls = fake_copy(signal->polls, signal->poll_count * sizeof *signal->polls);
    kept->gone = fake_copy(signal->gone, signal->gone_count * sizeof *signal->gone);
    kept->seen = fake_copy(signal->seen, signal->seen_count * sizeof *signal->seen);
    kept->queries = fake_copy(signal->queries, signal->query_count * sizeof *signal->queries);
    kept->deliveries = fake_copy(signal->deliveries,
                                 signal->delivery_count * sizeof *signal->deliveries);
    if (fake_store.count + 1 < FAKE_SIGNALS)
        fake_store.count++;
    bool is_failing = fake_store.is_failing;
    while (fake_store.is_held) {
        pthread_mutex_unlock(&fake_store.mutex);
        fake_pause();
        pthread_mutex_lock(&fake_store.mutex);
    }
    pthread_mutex_unlock(&fake_store.mutex);
    return is_failing ? bw_fail(error, BW_UNAVAILABLE, "failing as asked") : BW_OK;
}

static inline void fake_store_set(bool is_failing, bool is_held)
{
    pthread_mutex_lock(&fake_store.mutex);
    fake_store.is_failing = is_failing;
    fake_store.is_held = is_held;
    pthread_mutex_unlock(&fake_store.mutex);
}

static inline void fake_store_clear(void)
{
    for (size_t i = 0; i < fake_store.count; i++)
        signal_clear(&fake_store.sent[i]);
    fake_store.count = 0;
    fake_store_set(false, false);
}

static inline size_t fake_store_count(void)
{
    pthread_mutex_lock(&fake_store.mutex);
    size_t count = fake_store.count;
    pthread_mutex_unlock(&fake_store.mutex);
    return count;
}

/* Waits until `is_so` is true for the signals sent so far. False: timed out after five seconds. */
static inline bool fake_store_wait(bool (*is_so)(const struct signal *sent, size_t count,
                                                 int64_t wanted),
                                   int64_t wanted)
{
    int64_t until_ms = clock_boot_ms() + 5000;
    for (;;) {
        pthread_mutex_lock(&fake_store.mutex);
        bool holds = is_so(fake_store.sent, fake_store.count, wanted);
        pthread_mutex_unlock(&fake_store.mutex);
        if (holds || clock_boot_ms() > until_ms)
            return holds;
        fake_pause();
    }
}

static inline bool has_count(const struct signal *sent, size_t count, int64_t wanted)
{
    (void)sent;
    return (int64_t)count >= wanted;
}

static inline bool has_poll(const struct signal *sent, size_t count, int64_t wanted)
{
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < sent[i].poll_count; p++)
            if (sent[i].polls[p].poll == wanted)
                return true;
    return false;
}

static inline bool has_final(const struct signal *sent, size_t count, int64_t wanted)
{
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < sent[i].poll_count; p++)
            if (sent[i].polls[p].poll == wanted && sent[i].polls[p].is_final)
                return true;
    return false;
}

/* True if one of the signals has `wanted` seen workers. */
static inline bool has_seen(const struct signal *sent, size_t count, int64_t wanted)
{
    for (size_t i = 0; i < count; i++)
        if ((int64_t)sent[i].seen_count == wanted)
            return true;
    return false;
}

static inline bool has_gone(const struct signal *sent, size_t count, int64_t wanted)
{
    for (size_t i = 0; i < count; i++)
        for (size_t g = 0; g < sent[i].gone_count; g++)
            if (sent[i].gone[g] == wanted)
                return true;
    return false;
}

#endif
