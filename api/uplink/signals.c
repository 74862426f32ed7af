#include "api/uplink/signals.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "api/uplink/extras.h"
#include "api/grading/delivery_table.h"
#include "api/grading/poll_table.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
    BATCH_ITEMS = 5000,    /* of each kind in one batch */
    PENDING_ITEMS = 20000, /* of polls and of gone ones; more than that is announced instead */
    PENDING_WORKERS = 100000,
    ANNOUNCED_ITEMS = 50000, /* deliveries in an announcement: what fits a document */
    TRY_MS = 2000,
    PAUSE_MS = 200 /* after a failure */
};

struct heard_worker {
    char worker[WORKER_ID_SIZE];
    int64_t at_ms; /* clock_boot_ms */
    enum heard_kind kind;
    UT_hash_handle hh;
};

struct signals {
    struct signals_settings settings;
    struct poll_table *polls;
    struct delivery_table *hand_outs;
    pthread_t thread;
    bool is_started; /* the owner's */
    pthread_cond_t wake;
    pthread_mutex_t mutex; /* guards what follows */
    struct signal_poll *pending_polls;
    int64_t *pending_gone;
    size_t poll_count, gone_count;
    struct heard_worker *heard;
    struct extras extras;
    int64_t number, next_life_ms;
    int64_t heard_due_ms; /* when `heard` leaves, if there is any */
    bool must_resync, is_leaving, is_stopping;
    struct signals_totals totals;
};

/* A batch while it is cut and sent; only the thread sees it. */
struct batch {
    struct signals *signals;
    struct signal signal;
    struct heard_worker *heard; /* until they are sent, and after a failure again */
    struct poll_snapshot snapshot;
};

static void *signals_allocate(size_t count, size_t size)
{
    void *memory = bw_alloc_array(count, size);
    return memory;
}

/* ---- Telling ---- */

/* Everything about polls that is pending becomes "announce next": the listing will say it. */
static void collapse(struct signals *signals)
{
    signals->poll_count = 0;
    signals->gone_count = 0;
    signals->must_resync = true;
}

/* The worker asks for work now. That it sent a result need not be told any more: it is heard by
 * this. A heartbeat goes along: told later, it would look like one of a worker that has a job. */
static void settle_heard(struct signals *signals, const char *worker)
{
    struct heard_worker *heard;
    HASH_FIND_STR(signals->heard, worker, heard);
    if (heard == NULL)
        return;
    if (heard->kind == HEARD_HEARTBEAT) {
        signals->heard_due_ms = 0;
        return;
    }
    HASH_DEL(signals->heard, heard);
    free(heard);
}

void signals_poll(struct signals *signals, const char *worker, int64_t number, bool is_final)
{
    pthread_mutex_lock(&signals->mutex);
    settle_heard(signals, worker);
    if (signals->poll_count == PENDING_ITEMS)
        collapse(signals);
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
        collapse(signals);
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

/* A heartbeat outweighs a result: that a worker beats while it holds a job is something the
 * scheduler wants to know. */
static void merge_heard(struct heard_worker *known, int64_t at_ms, enum heard_kind kind)
{
    if (at_ms > known->at_ms)
        known->at_ms = at_ms;
    if (kind == HEARD_HEARTBEAT)
        known->kind = kind;
}

void signals_heard(struct signals *signals, const char *worker, enum heard_kind kind)
{
    int64_t now_ms = clock_boot_ms();
    struct heard_worker *heard;
    pthread_mutex_lock(&signals->mutex);
    HASH_FIND_STR(signals->heard, worker, heard);
    if (heard != NULL) {
        merge_heard(heard, now_ms, kind);
    } else if (HASH_COUNT(signals->heard) < PENDING_WORKERS) {
        if (signals->heard == NULL)
            signals->heard_due_ms = now_ms + linger_ms(signals);
        heard = signals_allocate(1, sizeof *heard);
        snprintf(heard->worker, sizeof heard->worker, "%s", worker);
        heard->at_ms = now_ms;
        heard->kind = kind;
        HASH_ADD_STR(signals->heard, worker, heard);
    }
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

/* What was heard of a websocket's worker is no news once its socket has ended: told behind the end,
 * it would bring the worker back to life, and its id would be taken. */
static void forget_heard(struct signals *signals, const char *worker)
{
    struct heard_worker *heard;
    HASH_FIND_STR(signals->heard, worker, heard);
    if (heard == NULL)
        return;
    HASH_DEL(signals->heard, heard);
    free(heard);
}

void signals_query(struct signals *signals, const struct signal_query *query)
{
    pthread_mutex_lock(&signals->mutex);
    if (query->kind == QUERY_ENDED)
        forget_heard(signals, query->subject);
    extras_query(&signals->extras, query);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_watch(struct signals *signals, const struct signal_watch *watch)
{
    pthread_mutex_lock(&signals->mutex);
    if (!extras_watch(&signals->extras, watch))
        collapse(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_unwatch(struct signals *signals, int64_t watch)
{
    pthread_mutex_lock(&signals->mutex);
    if (!extras_unwatch(&signals->extras, watch))
        collapse(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_resync(struct signals *signals)
{
    pthread_mutex_lock(&signals->mutex);
    collapse(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

void signals_leave(struct signals *signals)
{
    pthread_mutex_lock(&signals->mutex);
    signals->is_leaving = true;
    collapse(signals);
    pthread_cond_signal(&signals->wake);
    pthread_mutex_unlock(&signals->mutex);
}

const struct heartbeat *signals_heartbeat(const struct signals *signals)
{
    return signals->settings.heartbeat;
}

struct signals_totals signals_totals(struct signals *signals)
{
    pthread_mutex_lock(&signals->mutex);
    struct signals_totals totals = signals->totals;
    pthread_mutex_unlock(&signals->mutex);
    return totals;
}

/* ---- Cutting a batch, under the mutex ---- */

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

/* Only with the last of the polls: a poll must not be reported gone in an earlier batch than it was
 * reported. */
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

static void cut_heard(struct signals *signals, struct batch *batch)
{
    bool goes_along = batch->signal.is_announcement || signals->is_stopping;
    if (!goes_along && clock_boot_ms() < signals->heard_due_ms)
        return;
    for (size_t count = 0; count < BATCH_ITEMS && signals->heard != NULL; count++) {
        struct heard_worker *heard = signals->heard;
        HASH_DEL(signals->heard, heard);
        HASH_ADD_STR(batch->heard, worker, heard);
    }
}

static void cut_common(struct signals *signals, struct batch *batch)
{
    batch->signal.replica = signals->settings.replica;
    batch->signal.number = ++signals->number;
    batch->signal.is_leaving = signals->is_leaving;
    cut_heard(signals, batch);
    extras_cut(&signals->extras, &batch->signal);
}

/* poll_table_snapshot calls this under the table's mutex: nothing parks or goes meanwhile. */
static void cut_announcement(void *context)
{
    struct batch *batch = context;
    struct signals *signals = batch->signals;
    pthread_mutex_lock(&signals->mutex);
    collapse(signals);
    signals->must_resync = false;
    batch->signal.is_announcement = true;
    cut_common(signals, batch);
    pthread_mutex_unlock(&signals->mutex);
}

/* Likewise; the sign of life waits for the next batch if this one can't take all that is pending,
 * or if that must announce. */
static void cut_life(void *context)
{
    struct batch *batch = context;
    struct signals *signals = batch->signals;
    pthread_mutex_lock(&signals->mutex);
    cut_polls(signals, &batch->signal);
    cut_gone(signals, &batch->signal);
    cut_common(signals, batch);
    batch->signal.is_life = signals->poll_count == 0 && signals->gone_count == 0 &&
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

/* In the place of those that were pending. */
static void signals_list_watches(struct batch *batch)
{
    const struct signals_settings *settings = &batch->signals->settings;
    if (settings->list_watches == NULL)
        return;
    free(batch->signal.watches);
    batch->signal.watches = settings->list_watches(settings->context, &batch->signal.watch_count);
}

/* An announcement is the best sign of life: it carries count and checksum too. */
static void fill_snapshot(struct batch *batch)
{
    struct signal *signal = &batch->signal;
    if (signal->is_announcement) {
        signal->is_life = true;
        signal->polls = batch->snapshot.polls;
        signal->poll_count = (size_t)batch->snapshot.count;
        /* After the polls: a hand-out enters its table before its poll leaves the other. */
        signal->deliveries = delivery_table_list(batch->signals->hand_outs, ANNOUNCED_ITEMS,
                                                 &signal->delivery_count);
        signals_list_watches(batch);
    }
    if (signal->is_life) {
        signal->parked_count = batch->snapshot.count;
        signal->parked_checksum = batch->snapshot.checksum;
    }
}

static void fill_heard(struct batch *batch)
{
    struct signal *signal = &batch->signal;
    int64_t now_ms = clock_boot_ms();
    signal->heard = signals_allocate(HASH_COUNT(batch->heard) + 1, sizeof *signal->heard);
    for (const struct heard_worker *heard = batch->heard; heard != NULL; heard = heard->hh.next) {
        struct signal_heard *out = &signal->heard[signal->heard_count++];
        int64_t age_ms = now_ms - heard->at_ms;
        memcpy(out->worker, heard->worker, sizeof out->worker);
        out->age_ms = age_ms > INT32_MAX ? INT32_MAX : (int32_t)age_ms;
        out->kind = heard->kind;
    }
}

/* Those heard in a batch that was not sent are told again; the polls in it by an announcement. */
static void put_heard_back(struct signals *signals, struct batch *batch)
{
    while (batch->heard != NULL) {
        struct heard_worker *heard = batch->heard, *known;
        HASH_DEL(batch->heard, heard);
        HASH_FIND_STR(signals->heard, heard->worker, known);
        if (known == NULL) {
            HASH_ADD_STR(signals->heard, worker, heard);
            continue;
        }
        merge_heard(known, heard->at_ms, heard->kind);
        free(heard);
    }
}

static void note_sent(struct signals *signals, struct batch *batch, bool is_sent)
{
    pthread_mutex_lock(&signals->mutex);
    signals->totals.sent += is_sent;
    signals->totals.failed += !is_sent;
    signals->totals.announcements += is_sent && batch->signal.is_announcement;
    if (is_sent && batch->signal.is_life)
        signals->next_life_ms = clock_boot_ms() + signals->settings.heartbeat_every_ms;
    if (!is_sent) {
        collapse(signals);
        put_heard_back(signals, batch);
    }
    pthread_mutex_unlock(&signals->mutex);
}

static void free_heard(struct heard_worker *list)
{
    while (list != NULL) {
        struct heard_worker *heard = list;
        HASH_DEL(list, heard);
        free(heard);
    }
}

static void batch_clear(struct batch *batch)
{
    free_heard(batch->heard);
    signal_clear(&batch->signal);
}

/* Cuts and sends one batch. False: its fate is unknown. */
static bool send_batch(struct signals *signals, bool must_resync, bool is_life_due, int64_t try_ms)
{
    struct batch batch = {.signals = signals};
    if (must_resync)
        poll_table_snapshot(signals->polls, true, &batch.snapshot, cut_announcement, &batch);
    else if (is_life_due)
        poll_table_snapshot(signals->polls, false, &batch.snapshot, cut_life, &batch);
    else
        cut_plain(&batch);
    fill_snapshot(&batch);
    fill_heard(&batch);
    struct bw_error error; /* not logged: whether the database is reachable is life's to say */
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

/* When something must leave even if nothing else happens. */
static int64_t due_ms(const struct signals *signals)
{
    bool is_heard_first = signals->heard != NULL && signals->heard_due_ms < signals->next_life_ms;
    return is_heard_first ? signals->heard_due_ms : signals->next_life_ms;
}

/* Sleeps until there is something to send; under the mutex. */
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

/* A pause after a failure that only stopping cuts short; under the mutex. */
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
             is_life_due = clock_boot_ms() >= signals->next_life_ms;
        pthread_mutex_unlock(&signals->mutex);
        bool is_sent = send_batch(signals, must_resync, is_life_due, TRY_MS);
        pthread_mutex_lock(&signals->mutex);
        if (!is_sent)
            pause_after_failure(signals);
    }
    bool is_rest = has_pending(signals) || signals->heard != NULL,
         must_resync = signals->must_resync;
    pthread_mutex_unlock(&signals->mutex);
    if (is_rest)
        send_batch(signals, must_resync, false, 0);
    return NULL;
}

/* ---- Its life ---- */

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

enum bw_code signals_start(struct signals *signals, struct poll_table *polls,
                           struct delivery_table *hand_outs, struct bw_error *error)
{
    signals->polls = polls;
    signals->hand_outs = hand_outs;
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
    free_heard(signals->heard);
    pthread_cond_destroy(&signals->wake);
    pthread_mutex_destroy(&signals->mutex);
    free(signals->pending_polls);
    free(signals->pending_gone);
    extras_clear(&signals->extras);
    free(signals);
}
