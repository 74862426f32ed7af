/*
 * extras: the items of the next batch of signals that are neither polls nor heartbeats: queries,
 * watches, the ends of watches. A part of signals: every function needs the mutex of signals.
 */
#ifndef API_UPLINK_EXTRAS_H
#define API_UPLINK_EXTRAS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/store/signal_store.h"

struct extras {
    struct signal_query *queries; /* own, as the other two lists are */
    struct signal_watch *watches;
    int64_t *unwatched;
    size_t query_count, watch_count, unwatched_count;
    size_t query_room, watch_room, unwatched_room;
};

/* Drops and frees all pending items. */
void extras_clear(struct extras *extras);

/* Adds a query (copied). If too many are pending it is dropped; its sender repeats it. */
void extras_query(struct extras *extras, const struct signal_query *query);

/* Add a watch (copied), or the end of one. False: too many are pending, and a full resync is
 * necessary. */
bool extras_watch(struct extras *extras, const struct signal_watch *watch);
bool extras_unwatch(struct extras *extras, int64_t watch);

bool extras_has_any(const struct extras *extras);

/* Moves all pending items into the signal, which owns them. */
void extras_cut(struct extras *extras, struct signal *signal);

#endif
