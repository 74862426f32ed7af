/*
 * asides: what goes along with the next batch of signals and is neither a poll nor a sign of life:
 * questions, watches, the ends of watches. A part of signals, under its mutex.
 */
#ifndef API_UPLINK_ASIDES_H
#define API_UPLINK_ASIDES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/store/signal_store.h"

struct asides {
    struct signal_question *questions; /* own, as the others are */
    struct signal_watch *watches;
    int64_t *unwatched;
    size_t question_count, watch_count, unwatched_count;
    size_t question_room, watch_room, unwatched_room;
};

void asides_clear(struct asides *asides);

/* Too many are pending: it is dropped. */
void asides_question(struct asides *asides, const struct signal_question *question);

/* False: too many are pending, and only an announcement can say it. */
bool asides_watch(struct asides *asides, const struct signal_watch *watch);
bool asides_unwatch(struct asides *asides, int64_t watch);

bool asides_has_any(const struct asides *asides);

/* Moves all that is pending into the signal. */
void asides_cut(struct asides *asides, struct signal *signal);

#endif
