/*
 * signals: sends this replica's signals to the scheduler: polls that wait or are gone, workers that
 * were seen, heartbeats, full resyncs. One thread sends one batch at a time, numbered from 1.
 * Events during a batch in flight join the next batch, which is sent when this one returns. Callers
 * never wait. Safe from any thread.
 *
 * A full resync replaces the scheduler's state of this replica: all parked polls, all deliveries. A
 * full resync is the first batch of a process, the batch after one with an unknown outcome, and any
 * batch that the scheduler requests. Its list of polls and its number are taken in one critical
 * section of the poll table (see `snapshot` in the settings). Polls are signalled under the same
 * mutex, so the list equals the sum of all signals up to that number. A batch that leaves nothing
 * pending may carry a heartbeat, whose count and checksum are taken in the same way. The scheduler
 * applies `polls` of a batch before `gone`, each in its order; a poll that is gone never returns.
 *
 * Signals that a worker was seen are not urgent, since each carries its age. They are held back for
 * up to SIGNALS_LINGER_MS, so that several leave in one batch; polls are sent at once.
 *
 * While the database is unavailable, memory stays bounded: pending signals of polls are replaced by
 * a full resync, and each seen worker is kept once.
 */
#ifndef API_UPLINK_SIGNALS_H
#define API_UPLINK_SIGNALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/replica_store.h"
#include "common/store/signal_store.h"

struct signals;
struct heartbeat;

/* All polls that wait, at one instant. */
struct poll_snapshot {
    int64_t count;
    int64_t checksum;          /* sum modulo 2^63 of signal_poll_checksum */
    struct signal_poll *polls; /* `count` items; new, free(); NULL unless requested */
};

struct signals_settings {
    struct signal_store *store;        /* borrowed until signals_free */
    struct replica replica;            /* id, url, process of this replica */
    int64_t heartbeat_every_ms;        /* min(2 s, half a heartbeat interval) */
    const struct heartbeat *heartbeat; /* borrowed: see signals_heartbeat; NULL in tests */
    /* The callbacks below report the state of this replica. The thread of signals calls them, from
     * signals_start until signals_stop has returned. `snapshot` fills *snapshot and calls
     * at(at_context) in the same critical section: see poll_table_snapshot. The lists are new
     * (free()), for a full resync: at most `limit` deliveries (delivery_table_list), and all
     * watches of this replica (`list_watches`, which may be NULL). */
    void (*snapshot)(void *context, bool with_polls, struct poll_snapshot *snapshot,
                     void (*at)(void *at_context), void *at_context);
    struct signal_delivery *(*list_deliveries)(void *context, size_t limit, size_t *count);
    struct signal_watch *(*list_watches)(void *context, size_t *count);
    void *context;
    /* Sends a batch; NULL: signal_store_send. For tests. */
    enum bw_code (*send)(struct signal_store *store, const struct signal *signal, int64_t try_ms,
                         struct bw_error *error);
};

/* Returns new signals, never NULL; nothing is sent before signals_start. */
struct signals *signals_new(const struct signals_settings *settings);

/* Starts sending. BW_INTERNAL: no thread. */
enum bw_code signals_start(struct signals *signals, struct bw_error *error) BW_CHECKED;

/* Sends pending signals, with one brief try, and ends the thread. Later signals are dropped. NULL
 * is allowed. */
void signals_stop(struct signals *signals);

void signals_free(struct signals *signals); /* stopped, or never started; NULL is allowed */

/* For poll_table alone, under its mutex: a poll waits, or waits no longer. `is_final`: the poll
 * waits only for the scheduler's answer to this signal. */
void signals_poll(struct signals *signals, const char *worker, int64_t poll, bool is_final);
void signals_gone(struct signals *signals, int64_t poll);

/* A worker was seen just now. The signal is sent within SIGNALS_LINGER_MS, or a quarter of the
 * heartbeat interval if that is less. If the worker polls in the meantime, a pending heartbeat is
 * sent no later than the poll, and a pending result is dropped: the poll proves that the worker is
 * alive. */
enum { SIGNALS_LINGER_MS = 100 };
void signals_seen(struct signals *signals, const char *worker, enum seen_kind kind);

/* A query, which joins the next batch. It may be lost: the caller repeats it. */
void signals_query(struct signals *signals, const struct signal_query *query);

/* A watch of a job or a run begins or ends here. A full resync repairs losses. */
void signals_watch(struct signals *signals, const struct signal_watch *watch);
void signals_unwatch(struct signals *signals, int64_t watch);

/* The next batch is a full resync and is sent at once. */
void signals_resync(struct signals *signals);

/* This replica is shutting down: a full resync with this flag is sent at once, and every later
 * signal has the flag too. */
void signals_leave(struct signals *signals);

/* The replica's heartbeat in the database: api/uplink/replica_heartbeat.h. It is accessed through
 * the signals, since both belong to the replica. */
const struct heartbeat *signals_heartbeat(const struct signals *signals);

#endif
