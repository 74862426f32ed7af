#include "scheduler/state/history_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

void history_table_clear(struct history_table *table)
{
    struct history_entry *entry, *following;
    HASH_ITER (hh, table->entries, entry, following) {
        HASH_DELETE(hh, table->entries, entry);
        free(entry);
    }
    memset(table, 0, sizeof *table);
}

struct history_course *history_table_course(struct history_table *table, enum protocol protocol,
                                            const char *name)
{
    char key[HISTORY_KEY_SIZE];
    struct history_entry *entry;
    snprintf(key, sizeof key, "%u/%s", (unsigned)protocol % 10, name);
    HASH_FIND_STR(table->entries, key, entry);
    if (entry != NULL)
        return &entry->course;
    entry = bw_alloc(sizeof *entry);
    memcpy(entry->key, key, sizeof key);
    entry->course.protocol = protocol;
    snprintf(entry->course.name, sizeof entry->course.name, "%s", name);
    HASH_ADD_STR(table->entries, key, entry);
    return &entry->course;
}
