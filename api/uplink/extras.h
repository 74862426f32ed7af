/*
 * extras: what goes along with the next batch of signals and is neither a poll nor a sign of life:
 * questions, watches, the ends of watches. A part of signals, under its mutex.
 */
#ifndef API_UPLINK_EXTRAS_H
#define API_UPLINK_EXTRAS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/store/signal_store.h"

struct extras {
    struct signal_query *queries; /* own, as the others are */
    struct signal_watch *watches;
    int64_t *unwatched;
    size_t query_count, watch_count, unwatched_count;
    size_t query_room, watch_room, unwatched_room;
};

void extras_clear(struct extras *extras);

/* Too many are pending: it is dropped. */
void extras_query(struct extras *extras, const struct signal_query *query);

/* False: too many are pending, and only an announcement can say it. */
bool extras_watch(struct extras *extras, const struct signal_watch *watch);
bool extras_unwatch(struct extras *extras, int64_t watch);

bool extras_has_any(const struct extras *extras);

/* Moves all that is pending into the signal. */
void extras_cut(struct extras *extras, struct signal *signal);

#endif
