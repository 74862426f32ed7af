#include "scheduler/state/pause_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

static void pause_table_remove(struct pause_table *table, struct known_pause *known)
{
    HASH_DELETE(hh, table->pauses, known);
    free(known);
}

void pause_table_clear(struct pause_table *table)
{
    struct known_pause *known, *following;
    HASH_ITER (hh, table->pauses, known, following)
        pause_table_remove(table, known);
    *table = (struct pause_table){.next_ms = INT64_MAX};
}

static struct known_pause *pause_table_set(struct pause_table *table, const struct pause *pause)
{
    struct known_pause *known;
    char id[PAUSE_ID_SIZE];
    pause_id(pause->kind, pause->name, pause->is_automatic, id);
    HASH_FIND_STR(table->pauses, id, known);
    if (known == NULL) {
        known = bw_alloc(sizeof *known);
        snprintf(known->id, sizeof known->id, "%s", id);
        HASH_ADD_STR(table->pauses, id, known);
    }
    known->pause = *pause;
    return known;
}

static int pause_table_compare(const struct known_pause *left, const struct known_pause *right)
{
    return strcmp(left->id, right->id);
}

void pause_table_replace(struct pause_table *table, const struct pause *pauses, size_t count,
                         int64_t read)
{
    struct known_pause *known, *following;
    HASH_ITER (hh, table->pauses, known, following)
        if (!known->is_inserting && known->kept_read < read)
            pause_table_remove(table, known);
    for (size_t i = 0; i < count; i++)
        (void)pause_table_set(table, &pauses[i]); /* what is stored counts */
    HASH_SRT(hh, table->pauses, pause_table_compare);
    table->read = read;
}

struct known_pause *pause_table_add(struct pause_table *table, const struct pause *pause)
{
    struct known_pause *known = pause_table_set(table, pause);
    known->is_inserting = true;
    table->inserting++;
    return known;
}

struct known_pause *pause_table_find(const struct pause_table *table, enum pause_kind kind,
                                     const char *name, bool is_automatic)
{
    struct known_pause *known;
    char id[PAUSE_ID_SIZE];
    pause_id(kind, name, is_automatic, id);
    HASH_FIND_STR(table->pauses, id, known);
    return known;
}

void pause_table_count(struct pause_table *table, int64_t date_ms)
{
    const struct known_pause *known, *following;
    memset(table->in_force, 0, sizeof table->in_force);
    table->counted_ms = date_ms;
    table->next_ms = INT64_MAX;
    HASH_ITER (hh, table->pauses, known, following) {
        const struct pause *pause = &known->pause;
        if (!pause_is_in_force(pause, date_ms))
            continue;
        table->in_force[pause->kind]++;
        if (pause->until_ms != 0 && pause->until_ms < table->next_ms)
            table->next_ms = pause->until_ms;
    }
}

const struct pause *pause_table_of(const struct pause_table *table, enum pause_kind kind,
                                   const char *name, int64_t date_ms)
{
    for (int is_automatic = 0; is_automatic < 2 && table->in_force[kind] > 0; is_automatic++) {
        const struct known_pause *known = pause_table_find(table, kind, name, is_automatic);
        if (known != NULL && pause_is_in_force(&known->pause, date_ms))
            return &known->pause;
    }
    return NULL;
}

const struct pause *pause_table_of_run(const struct pause_table *table, const struct run *run,
                                       int64_t date_ms)
{
    char assignment[PAUSE_NAME_SIZE];
    const struct {
        enum pause_kind kind;
        const char *name;
    } ways[] = {
        {PAUSE_RUN, run->id},
        {PAUSE_ASSIGNMENT, pause_assignment_name(run->course, run->assignment, assignment)},
        {PAUSE_COURSE, run->course},
        {PAUSE_CLUSTER, ""},
    };
    const struct pause *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof ways / sizeof *ways; i++)
        found = pause_table_of(table, ways[i].kind, ways[i].name, date_ms);
    return found;
}
