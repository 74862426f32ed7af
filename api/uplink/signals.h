/*
 * signals: what the scheduler is told by this replica: polls that wait or are gone, workers that
 * were heard, signs of life, announcements. One thread sends one batch at a time, numbered from 1;
 * what happens while a batch is under way joins the next one, which leaves when this one returns.
 * Nobody who tells it something ever waits. Safe from any thread.
 *
 * Announcements: the first batch of a process, every one after a batch whose fate is unknown, and
 * whenever the scheduler asks, replaces what was known of this replica: all parked polls, all
 * deliveries. Its listing and its number are taken under the poll_table's mutex, under which polls
 * are told to us as well, so the listing holds exactly what all signals up to its number amount to.
 * A sign of life goes with a batch that leaves nothing pending, by the same means. Within a batch
 * `polls` are to be applied before `gone`, each in its order; a poll that is gone never comes back.
 *
 * That a worker was heard is in no hurry, its age is told with it: those heard wait a moment for
 * one another, and polls never wait for them.
 *
 * While the database is away memory stays bounded: polls and gone ones collapse into "announce
 * next", heard workers are kept once each.
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
struct poll_table;
struct delivery_table;
struct heartbeat;

struct signals_settings {
    struct signal_store *store;        /* borrowed until signals_close */
    struct replica replica;            /* id, url, process of this replica */
    int64_t heartbeat_every_ms;        /* min(2 s, half a heartbeat interval) */
    const struct heartbeat *heartbeat; /* borrowed: see signals_heartbeat; NULL in tests */
    /* All that is watched here, new, for an announcement; may be NULL. */
    struct signal_watch *(*list_watches)(void *context, size_t *count);
    void *context;
    /* How a batch is sent; NULL: signal_store_send. For tests. */
    enum bw_code (*send)(struct signal_store *store, const struct signal *signal, int64_t try_ms,
                         struct bw_error *error);
};

/* Makes it; nothing is sent before signals_start. */
struct signals *signals_new(const struct signals_settings *settings);

/* Starts sending. The tables are borrowed until signals_stop has returned. BW_INTERNAL: no thread.
 */
enum bw_code signals_start(struct signals *signals, struct poll_table *polls,
                           struct delivery_table *hand_outs, struct bw_error *error) BW_CHECKED;

/* Sends what is pending, trying once and briefly, and ends the thread. What is told afterwards is
 * dropped. NULL is fine. */
void signals_stop(struct signals *signals);

void signals_free(struct signals *signals); /* stopped, or never started; NULL is fine */

/* For the poll_table alone, under its mutex: a poll waits (`is_final`: no longer than the answer to
 * this), or waits no longer. */
void signals_poll(struct signals *signals, const char *worker, int64_t poll, bool is_final);
void signals_gone(struct signals *signals, int64_t poll);

/* A worker was heard just now. The scheduler learns it within SIGNALS_LINGER_MS, or a quarter of
 * the interval of the signs of life if that is less. If the worker asks for work meanwhile: of a
 * heartbeat no later than of the poll, of a result not at all. */
enum { SIGNALS_LINGER_MS = 100 };
void signals_heard(struct signals *signals, const char *worker, enum heard_kind kind);

/* A question, which joins the next batch. It may be lost: who asks asks again. */
void signals_query(struct signals *signals, const struct signal_query *query);

/* Somebody follows a job or a run here, or no longer. What is lost is made good by announcements.
 */
void signals_watch(struct signals *signals, const struct signal_watch *watch);
void signals_unwatch(struct signals *signals, int64_t watch);

/* The next batch is an announcement and leaves at once. */
void signals_resync(struct signals *signals);

/* This replica drains: an announcement that says so leaves at once, and every later signal says it
 * too. */
void signals_leave(struct signals *signals);

/* The other half of what keeps this replica known: api/uplink/replica_heartbeat.h. It is reached by
 * way of the signals, since both speak for the replica. */
const struct heartbeat *signals_heartbeat(const struct signals *signals);

/* For metrics. */
struct signals_totals {
    uint64_t sent, failed, announcements;
};
struct signals_totals signals_totals(struct signals *signals);

#endif
