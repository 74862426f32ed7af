#include "api/uplink/extras.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum { PENDING_ITEMS = 20000, FIRST_ROOM = 16 };

void extras_clear(struct extras *extras)
{
    free(extras->queries);
    free(extras->watches);
    free(extras->unwatched);
    memset(extras, 0, sizeof *extras);
}

/* The list, grown if necessary so that one more item of `size` bytes fits. */
static void *extras_grow(void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    *room = *room == 0 ? FIRST_ROOM : 2 * *room;
    void *grown = bw_grow(items, *room, size);
    return grown;
}

void extras_query(struct extras *extras, const struct signal_query *query)
{
    if (extras->query_count == PENDING_ITEMS)
        return;
    extras->queries = extras_grow(extras->queries, extras->query_count, &extras->query_room,
                                  sizeof *query);
    extras->queries[extras->query_count++] = *query;
}

bool extras_watch(struct extras *extras, const struct signal_watch *watch)
{
    if (extras->watch_count == PENDING_ITEMS)
        return false;
    extras->watches = extras_grow(extras->watches, extras->watch_count, &extras->watch_room,
                                  sizeof *watch);
    extras->watches[extras->watch_count++] = *watch;
    return true;
}

bool extras_unwatch(struct extras *extras, int64_t watch)
{
    if (extras->unwatched_count == PENDING_ITEMS)
        return false;
    extras->unwatched = extras_grow(extras->unwatched, extras->unwatched_count,
                                    &extras->unwatched_room, sizeof watch);
    extras->unwatched[extras->unwatched_count++] = watch;
    return true;
}

bool extras_has_any(const struct extras *extras)
{
    return extras->query_count + extras->watch_count + extras->unwatched_count > 0;
}

void extras_cut(struct extras *extras, struct signal *signal)
{
    signal->queries = extras->queries;
    signal->query_count = extras->query_count;
    signal->watches = extras->watches;
    signal->watch_count = extras->watch_count;
    signal->unwatched = extras->unwatched;
    signal->unwatched_count = extras->unwatched_count;
    memset(extras, 0, sizeof *extras);
}
