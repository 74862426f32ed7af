#include "api/uplink/asides.h"

#include <stdlib.h>
#include <string.h>

enum { PENDING_ITEMS = 20000, FIRST_ROOM = 16 };

void asides_clear(struct asides *asides)
{
    free(asides->questions);
    free(asides->watches);
    free(asides->unwatched);
    memset(asides, 0, sizeof *asides);
}

/* Room for one more of `size` bytes. */
static void *grow(void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    *room = *room == 0 ? FIRST_ROOM : 2 * *room;
    void *grown = realloc(items, *room * size);
    if (grown == NULL)
        abort();
    return grown;
}

void asides_question(struct asides *asides, const struct signal_question *question)
{
    if (asides->question_count == PENDING_ITEMS)
        return;
    asides->questions = grow(asides->questions, asides->question_count, &asides->question_room,
                             sizeof *question);
    asides->questions[asides->question_count++] = *question;
}

bool asides_watch(struct asides *asides, const struct signal_watch *watch)
{
    if (asides->watch_count == PENDING_ITEMS)
        return false;
    asides->watches = grow(asides->watches, asides->watch_count, &asides->watch_room,
                           sizeof *watch);
    asides->watches[asides->watch_count++] = *watch;
    return true;
}

bool asides_unwatch(struct asides *asides, int64_t watch)
{
    if (asides->unwatched_count == PENDING_ITEMS)
        return false;
    asides->unwatched = grow(asides->unwatched, asides->unwatched_count, &asides->unwatched_room,
                             sizeof watch);
    asides->unwatched[asides->unwatched_count++] = watch;
    return true;
}

bool asides_has_any(const struct asides *asides)
{
    return asides->question_count + asides->watch_count + asides->unwatched_count > 0;
}

void asides_cut(struct asides *asides, struct signal *signal)
{
    signal->questions = asides->questions;
    signal->question_count = asides->question_count;
    signal->watches = asides->watches;
    signal->watch_count = asides->watch_count;
    signal->unwatched = asides->unwatched;
    signal->unwatched_count = asides->unwatched_count;
    memset(asides, 0, sizeof *asides);
}
