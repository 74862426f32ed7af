#include "scheduler/state/watch_table.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"

struct watch *watch_table_find(struct watch *watches, int64_t number)
{
    struct watch *watch;
    HASH_FIND(hh, watches, &number, sizeof number, watch);
    return watch;
}

struct watch *watch_table_add(struct watch **watches, int64_t number, const char *subject)
{
    struct watch *watch = bw_alloc(sizeof *watch);
    watch->number = number;
    snprintf(watch->subject, sizeof watch->subject, "%s", subject);
    HASH_ADD(hh, *watches, number, sizeof watch->number, watch);
    return watch;
}

void watch_table_remove(struct watch **watches, struct watch *watch)
{
    if (watch == NULL)
        return;
    HASH_DELETE(hh, *watches, watch);
    free(watch);
}

void watch_table_clear(struct watch **watches)
{
    struct watch *watch, *following;
    HASH_ITER (hh, *watches, watch, following)
        watch_table_remove(watches, watch);
}
