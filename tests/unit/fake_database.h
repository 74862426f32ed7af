/*
 * fake_database: a fake of common/db/database and common/db/group_commit that records the filters
 * and updates that a store sends. For unit tests of the stores. Include once per test program.
 */
#ifndef TESTS_UNIT_FAKE_DATABASE_H
#define TESTS_UNIT_FAKE_DATABASE_H

#include <stdio.h>
#include <string.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"

static struct {
    size_t sent;       /* operations of any kind */
    char filter[4096]; /* of the last one, as JSON; truncated */
    char update[4096];
    bool is_failing;     /* database_update_try fails */
    bool is_unmatched;   /* updates match nothing */
    const bson_t *found; /* found by any id; NULL: nothing is found */
} fake;

static void fake_note(const bson_t *filter, const bson_t *update)
{
    char *text = bson_as_relaxed_extended_json(filter, NULL);
    snprintf(fake.filter, sizeof fake.filter, "%s", text);
    bson_free(text);
    text = update == NULL ? NULL : bson_as_relaxed_extended_json(update, NULL);
    snprintf(fake.update, sizeof fake.update, "%s", text == NULL ? "" : text);
    bson_free(text);
    fake.sent++;
}

int64_t database_now_ms(const struct database *database)
{
    (void)database;
    return 1000000;
}

enum bw_code database_find_some(struct database *database, const char *collection,
                                const bson_t *filter, const bson_t *projection, int64_t limit,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error)
{
    (void)database, (void)collection, (void)projection, (void)limit, (void)each, (void)context;
    (void)error;
    fake_note(filter, NULL);
    return BW_OK;
}

enum bw_code database_find(struct database *database, const char *collection, const bson_t *filter,
                           const bson_t *projection,
                           void (*each)(const bson_t *document, void *context), void *context,
                           struct bw_error *error)
{
    return database_find_some(database, collection, filter, projection, 0, each, context, error);
}

enum bw_code database_update(struct database *database, const char *collection,
                             const bson_t *filter, const bson_t *update, bool *matched,
                             struct bw_error *error)
{
    (void)database, (void)collection, (void)error;
    fake_note(filter, update);
    *matched = true;
    return BW_OK;
}

enum bw_code database_update_try(struct database *database, const char *collection,
                                 const bson_t *filter, const bson_t *update, bool *matched,
                                 struct bw_error *error)
{
    (void)database, (void)collection;
    fake_note(filter, update);
    if (fake.is_failing)
        return bw_fail(error, BW_UNAVAILABLE, "failing as asked");
    *matched = !fake.is_unmatched;
    return BW_OK;
}

enum bw_code database_update_each(struct database *database, const char *collection,
                                  const struct database_change *changes, size_t count,
                                  struct bw_error *error)
{
    (void)database, (void)collection, (void)error;
    for (size_t i = 0; i < count; i++)
        fake_note(&changes[i].filter, &changes[i].update);
    return BW_OK;
}

enum bw_code database_find_ids(struct database *database, const char *collection,
                               const char *const *ids, size_t count, const bson_t *projection,
                               void (*each)(const bson_t *document, void *context), void *context,
                               struct bw_error *error)
{
    (void)database, (void)collection, (void)ids, (void)count, (void)projection, (void)error;
    fake.sent++;
    if (fake.found != NULL)
        each(fake.found, context);
    return BW_OK;
}

enum bw_code database_delete_ids(struct database *database, const char *collection,
                                 const char *const *ids, size_t count, uint64_t *deleted,
                                 struct bw_error *error)
{
    (void)database, (void)collection, (void)ids, (void)count, (void)deleted, (void)error;
    fake.sent++;
    return BW_OK;
}

enum bw_code database_delete(struct database *database, const char *collection,
                             const bson_t *filter, struct bw_error *error)
{
    (void)database, (void)collection, (void)error;
    fake_note(filter, NULL);
    return BW_OK;
}

enum bw_code group_commit_open(struct database *database,
                               const struct group_commit_settings *settings,
                               struct group_commit **group_commit, struct bw_error *error)
{
    (void)database, (void)settings, (void)error;
    *group_commit = NULL;
    return BW_OK;
}

void group_commit_close(struct group_commit *group_commit)
{
    (void)group_commit;
}

void group_commit_submit(struct group_commit *group_commit, struct commit_item *item)
{
    (void)group_commit;
    fake_note(item->document, NULL);
    item->completed(item, COMMIT_DONE, NULL);
}

#endif
