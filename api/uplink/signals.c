#include "api/uplink/signals.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "api/uplink/extras.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
    BATCH_ITEMS = 5000,    /* of each kind in one batch */
    PENDING_ITEMS = 20000, /* polls; more of them are sent as a full resync */
    PENDING_WORKERS = 100000,
    RESYNC_ITEMS = 50000, /* deliveries in a full resync: the limit of a document */
    TRY_MS = 2000,
    PAUSE_MS = 200 /* after a failure */
};

struct seen_worker {
    char worker[WORKER_ID_SIZE];
    int64_t at_ms; /* clock_boot_ms */
    enum seen_kind kind;
    UT_hash_handle hh;
};

struct signals {
    struct signals_settings settings;
    pthread_t thread;
    bool is_started; /* used only by the owner's thread */
    pthread_cond_t wake;
    pthread_mutex_t mutex; /* guards what follows */
    struct signal_poll *pending_polls;
    int64_t *pending_gone;
    size_t poll_count, gone_count;
    struct seen_worker *seen;
    struct extras extras;
    int64_t number, next_heartbeat_ms;
    int64_t seen_due_ms; /* when `seen` is sent, if it is not empty */
    bool must_resync, is_shutting_down, is_stopping;
};

/* A batch while it is filled and sent; used only by the thread. */
struct batch {
    struct signals *signals;
    struct signal signal;
    struct seen_worker *seen; /* until they are sent; after a failure they are pending again */
    struct poll_snapshot snapshot;
};

static void *signals_allocate(size_t count, size_t size)
{
    void *memory = bw_alloc_array(count, size);
    return memory;
}

/* ---- Recording events ---- */

/* Drops pending signals of polls and requests a full resync, whose listing contains them. */
static void fall_back_to_resync(struct signals *signals)
{
    signals->poll_count = 0;
    signals->gone_count = 0;
    signals->must_resync = true;
}

/* The worker polls now. A pending result signal is dropped: the poll proves that the worker is
 * alive. A pending heartbeat is sent with the poll: if it were sent later, it would look like a
 * heartbeat of a worker that has a job. */
static void finish_seen(struct signals *signals, const char *worker)
{
    struct seen_worker *seen;
    HASH_FIND_STR(signals->seen, worker, seen);
    if (seen == NULL)
        return;
    if (seen->kind == SEEN_HEARTBEAT) {
        signals->seen_due_ms = 0;
        return;
    }
    HASH_DEL(signals->seen, seen);
    free(seen);
}

void signals_poll(struct signals *signals, const char *worker, int64_t number, bool is_final)
{
    pthread_mutex_lock(&signals->mutex);
    finish_seen(signals, worker);
    if (signals->poll_count == PENDING_ITEMS)
        fall_back_to_resync(signals);
    if (!signals->must_resync) {
        struct signal_poll *poll = &signals->pending_polls[signals->poll_count++];
        poll->poll = number;
        poll->is_final = is_final;
        snprintf(poll->worker, sizeof poll->worker, "%s", worker);
    }
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_gone(struct signals *signals, int64_t number)
{
    pthread_mutex_lock(&signals->mutex);
    if (signals->gone_count == PENDING_ITEMS)
        fall_back_to_resync(signals);
    if (!signals->must_resync)
        signals->pending_gone[signals->gone_count++] = number;
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

static int64_t linger_ms(const struct signals *signals)
{
    int64_t most_ms = signals->settings.heartbeat_every_ms / 4;
    return SIGNALS_LINGER_MS < most_ms ? SIGNALS_LINGER_MS : most_ms;
}

/* A heartbeat takes precedence over a result: the scheduler must learn that a worker sends
 * heartbeats while it holds a job. */
static void merge_seen(struct seen_worker *known, int64_t at_ms, enum seen_kind kind)
{
    if (at_ms > known->at_ms)
        known->at_ms = at_ms;
    if (kind == SEEN_HEARTBEAT)
        known->kind = kind;
}

void signals_seen(struct signals *signals, const char *worker, enum seen_kind kind)
{
    int64_t now_ms = clock_boot_ms();
    struct seen_worker *seen;
    pthread_mutex_lock(&signals->mutex);
    HASH_FIND_STR(signals->seen, worker, seen);
    if (seen != NULL) {
        merge_seen(seen, now_ms, kind);
    } else if (HASH_COUNT(signals->seen) < PENDING_WORKERS) {
        if (signals->seen == NULL) { /* later ones are sent with the first, so one wake is enough */
            signals->seen_due_ms = now_ms + linger_ms(signals);
            pthread_cond_signal(&signals->wake);
        }
        seen = signals_allocate(1, sizeof *seen);
        snprintf(seen->worker, sizeof seen->worker, "%s", worker);
        seen->at_ms = now_ms;
        seen->kind = kind;
        HASH_ADD_STR(signals->seen, worker, seen);
    }
    pthread_mutex_unlock(&signals->mutex);
}

/* Pending signals of a websocket's worker are dropped when its socket has ended: sent after the
 * end, they would mark the worker as alive again, and its id as taken. */
static void forget_seen(struct signals *signals, const char *worker)
{
    struct seen_worker *seen;
    HASH_FIND_STR(signals->seen, worker, seen);
    if (seen == NULL)
        return;
    HASH_DEL(signals->seen, seen);
    free(seen);
}

void signals_query(struct signals *signals, const struct signal_query *query)
{
    pthread_mutex_lock(&signals->mutex);
    if (query->kind == QUERY_ENDED)
        forget_seen(signals, query->subject);
    extras_query(&signals->extras, query);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_watch(struct signals *signals, const struct signal_watch *watch)
{
    pthread_mutex_lock(&signals->mutex);
    if (!extras_watch(&signals->extras, watch))
        fall_back_to_resync(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_unwatch(struct signals *signals, int64_t watch)
{
    pthread_mutex_lock(&signals->mutex);
    if (!extras_unwatch(&signals->extras, watch))
        fall_back_to_resync(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_resync(struct signals *signals)
{
    pthread_mutex_lock(&signals->mutex);
    fall_back_to_resync(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_leave(struct signals *signals)
{
    pthread_mutex_lock(&signals->mutex);
    signals->is_shutting_down = true;
    fall_back_to_resync(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

const struct heartbeat *signals_heartbeat(const struct signals *signals)
{
    return signals->settings.heartbeat;
}

/* ---- Filling a batch, under the mutex ---- */

static void cut_polls(struct signals *signals, struct signal *signal)
{
    size_t count = signals->poll_count < BATCH_ITEMS ? signals->poll_count : BATCH_ITEMS;
    signal->polls = signals_allocate(count + 1, sizeof *signal->polls);
    signal->poll_count = count;
    signals->poll_count -= count;
    memcpy(signal->polls, signals->pending_polls, count * sizeof *signal->polls);
    memmove(signals->pending_polls, signals->pending_polls + count,
            signals->poll_count * sizeof *signal->polls);
}

/* Takes the polls that are gone, but only with the last of the polls: a poll must not be reported
 * as gone in an earlier batch than as waiting. */
static void cut_gone(struct signals *signals, struct signal *signal)
{
    if (signals->poll_count > 0)
        return;
    size_t count = signals->gone_count < BATCH_ITEMS ? signals->gone_count : BATCH_ITEMS;
    signal->gone = signals_allocate(count + 1, sizeof *signal->gone);
    signal->gone_count = count;
    signals->gone_count -= count;
    memcpy(signal->gone, signals->pending_gone, count * sizeof *signal->gone);
    memmove(signals->pending_gone, signals->pending_gone + count,
            signals->gone_count * sizeof *signal->gone);
}

static void cut_seen(struct signals *signals, struct batch *batch)
{
    bool goes_along = batch->signal.is_resync || signals->is_stopping;
    if (!goes_along && clock_boot_ms() < signals->seen_due_ms)
        return;
    for (size_t count = 0; count < BATCH_ITEMS && signals->seen != NULL; count++) {
        struct seen_worker *seen = signals->seen;
        HASH_DEL(signals->seen, seen);
        HASH_ADD_STR(batch->seen, worker, seen);
    }
}

static void cut_common(struct signals *signals, struct batch *batch)
{
    batch->signal.replica = signals->settings.replica;
    batch->signal.number = ++signals->number;
    batch->signal.is_shutting_down = signals->is_shutting_down;
    cut_seen(signals, batch);
    extras_cut(&signals->extras, &batch->signal);
}

/* Called by poll_table under its mutex, so that no poll is parked or leaves in the meantime. */
static void cut_resync(void *context)
{
    struct batch *batch = context;
    struct signals *signals = batch->signals;
    pthread_mutex_lock(&signals->mutex);
    fall_back_to_resync(signals);
    signals->must_resync = false;
    batch->signal.is_resync = true;
    cut_common(signals, batch);
    pthread_mutex_unlock(&signals->mutex);
}

/* Called like cut_resync. The heartbeat is left to the next batch if this one can't take all
 * pending signals, or if the next one must be a full resync. */
static void cut_heartbeat(void *context)
{
    struct batch *batch = context;
    struct signals *signals = batch->signals;
    pthread_mutex_lock(&signals->mutex);
    cut_polls(signals, &batch->signal);
    cut_gone(signals, &batch->signal);
    cut_common(signals, batch);
    batch->signal.is_heartbeat = signals->poll_count == 0 && signals->gone_count == 0 &&
                                 !signals->must_resync;
    pthread_mutex_unlock(&signals->mutex);
}

static void cut_plain(struct batch *batch)
{
    struct signals *signals = batch->signals;
    pthread_mutex_lock(&signals->mutex);
    cut_polls(signals, &batch->signal);
    cut_gone(signals, &batch->signal);
    cut_common(signals, batch);
    pthread_mutex_unlock(&signals->mutex);
}

/* ---- Sending ---- */

/* Lists all watches, which replace the pending ones. */
static void signals_list_watches(struct batch *batch)
{
    const struct signals_settings *settings = &batch->signals->settings;
    if (settings->list_watches == NULL)
        return;
    free(batch->signal.watches);
    batch->signal.watches = settings->list_watches(settings->context, &batch->signal.watch_count);
}

/* A full resync is also a heartbeat: it has count and checksum too. */
static void fill_snapshot(struct batch *batch)
{
    const struct signals_settings *settings = &batch->signals->settings;
    struct signal *signal = &batch->signal;
    if (signal->is_resync) {
        signal->is_heartbeat = true;
        signal->polls = batch->snapshot.polls;
        signal->poll_count = (size_t)batch->snapshot.count;
        /* listed after the polls: a hand-out enters its table before its poll leaves the poll table
         */
        signal->deliveries = settings->list_deliveries(settings->context, RESYNC_ITEMS,
                                                       &signal->delivery_count);
        signals_list_watches(batch);
    }
    if (signal->is_heartbeat) {
        signal->parked_count = batch->snapshot.count;
        signal->parked_checksum = batch->snapshot.checksum;
    }
}

static void fill_seen(struct batch *batch)
{
    struct signal *signal = &batch->signal;
    int64_t now_ms = clock_boot_ms();
    signal->seen = signals_allocate(HASH_COUNT(batch->seen) + 1, sizeof *signal->seen);
    for (const struct seen_worker *seen = batch->seen; seen != NULL; seen = seen->hh.next) {
        struct signal_seen *out = &signal->seen[signal->seen_count++];
        int64_t age_ms = now_ms - seen->at_ms;
        memcpy(out->worker, seen->worker, sizeof out->worker);
        out->age_ms = age_ms > INT32_MAX ? INT32_MAX : (int32_t)age_ms;
        out->kind = seen->kind;
    }
}

/* Handles a failed batch: its seen workers are pending again; its polls are sent by the full resync
 * that follows. */
static void put_seen_back(struct signals *signals, struct batch *batch)
{
    while (batch->seen != NULL) {
        struct seen_worker *seen = batch->seen, *known;
        HASH_DEL(batch->seen, seen);
        HASH_FIND_STR(signals->seen, seen->worker, known);
        if (known == NULL) {
            HASH_ADD_STR(signals->seen, worker, seen);
            continue;
        }
        merge_seen(known, seen->at_ms, seen->kind);
        free(seen);
    }
}

static void note_sent(struct signals *signals, struct batch *batch, bool is_sent)
{
    pthread_mutex_lock(&signals->mutex);
    if (is_sent && batch->signal.is_heartbeat)
        signals->next_heartbeat_ms = clock_boot_ms() + signals->settings.heartbeat_every_ms;
    if (!is_sent) {
        fall_back_to_resync(signals);
        put_seen_back(signals, batch);
    }
    pthread_mutex_unlock(&signals->mutex);
}

static void free_seen(struct seen_worker *list)
{
    while (list != NULL) {
        struct seen_worker *seen = list;
        HASH_DEL(list, seen);
        free(seen);
    }
}

static void batch_clear(struct batch *batch)
{
    free_seen(batch->seen);
    signal_clear(&batch->signal);
}

/* Fills and sends one batch. False: its outcome is unknown. */
static bool send_batch(struct signals *signals, bool must_resync, bool is_heartbeat_due,
                       int64_t try_ms)
{
    const struct signals_settings *settings = &signals->settings;
    struct batch batch = {.signals = signals};
    if (must_resync)
        settings->snapshot(settings->context, true, &batch.snapshot, cut_resync, &batch);
    else if (is_heartbeat_due)
        settings->snapshot(settings->context, false, &batch.snapshot, cut_heartbeat, &batch);
    else
        cut_plain(&batch);
    fill_snapshot(&batch);
    fill_seen(&batch);
    struct bw_error error; /* not logged here: replica_heartbeat logs whether the database is
                              reachable */
    bool is_sent = signals->settings.send(signals->settings.store, &batch.signal, try_ms, &error) ==
                   BW_OK;
    note_sent(signals, &batch, is_sent);
    batch_clear(&batch);
    return is_sent;
}

static bool has_pending(const struct signals *signals)
{
    return signals->must_resync || signals->poll_count > 0 || signals->gone_count > 0 ||
           extras_has_any(&signals->extras);
}

/* When the next batch is due (clock_boot_ms), unless another event comes first. */
static int64_t due_ms(const struct signals *signals)
{
    bool is_seen_first = signals->seen != NULL && signals->seen_due_ms < signals->next_heartbeat_ms;
    return is_seen_first ? signals->seen_due_ms : signals->next_heartbeat_ms;
}

/* Waits until something is pending or due; under the mutex. */
static void signals_wait_for_work(struct signals *signals)
{
    while (!signals->is_stopping && !has_pending(signals)) {
        int64_t wait_ms = due_ms(signals) - clock_boot_ms();
        if (wait_ms <= 0)
            return;
        struct timespec until = clock_deadline(wait_ms);
        pthread_cond_timedwait(&signals->wake, &signals->mutex, &until);
    }
}

/* Pauses after a failure; only signals_stop ends the pause early. Under the mutex. */
static void pause_after_failure(struct signals *signals)
{
    struct timespec until = clock_deadline(PAUSE_MS);
    int result = 0;
    while (!signals->is_stopping && result == 0)
        result = pthread_cond_timedwait(&signals->wake, &signals->mutex, &until);
}

static void *signals_run(void *context)
{
    struct signals *signals = context;
    pthread_mutex_lock(&signals->mutex);
    while (!signals->is_stopping) {
        signals_wait_for_work(signals);
        if (signals->is_stopping)
            break;
        bool must_resync = signals->must_resync,
             is_heartbeat_due = clock_boot_ms() >= signals->next_heartbeat_ms;
        pthread_mutex_unlock(&signals->mutex);
        bool is_sent = send_batch(signals, must_resync, is_heartbeat_due, TRY_MS);
        pthread_mutex_lock(&signals->mutex);
        if (!is_sent)
            pause_after_failure(signals);
    }
    bool is_rest = has_pending(signals) || signals->seen != NULL,
         must_resync = signals->must_resync;
    pthread_mutex_unlock(&signals->mutex);
    if (is_rest)
        send_batch(signals, must_resync, false, 0);
    return NULL;
}

/* ---- Opening and closing ---- */

struct signals *signals_new(const struct signals_settings *settings)
{
    struct signals *signals = signals_allocate(1, sizeof *signals);
    signals->settings = *settings;
    if (signals->settings.send == NULL)
        signals->settings.send = signal_store_send;
    signals->pending_polls = signals_allocate(PENDING_ITEMS, sizeof *signals->pending_polls);
    signals->pending_gone = signals_allocate(PENDING_ITEMS, sizeof *signals->pending_gone);
    signals->must_resync = true;
    pthread_mutex_init(&signals->mutex, NULL);
    clock_condition_init(&signals->wake);
    return signals;
}

enum bw_code signals_start(struct signals *signals, struct bw_error *error)
{
    if (pthread_create(&signals->thread, NULL, signals_run, signals) != 0)
        return bw_fail(error, BW_INTERNAL, "the thread of the signals can't be started");
    signals->is_started = true;
    return BW_OK;
}

void signals_stop(struct signals *signals)
{
    if (signals == NULL || !signals->is_started)
        return;
    pthread_mutex_lock(&signals->mutex);
    signals->is_stopping = true;
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
    pthread_join(signals->thread, NULL);
    signals->is_started = false;
}

void signals_free(struct signals *signals)
{
    if (signals == NULL)
        return;
    free_seen(signals->seen);
    pthread_cond_destroy(&signals->wake);
    pthread_mutex_destroy(&signals->mutex);
    free(signals->pending_polls);
    free(signals->pending_gone);
    extras_clear(&signals->extras);
    free(signals);
}
