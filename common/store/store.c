#include "common/store/store.h"

#include <stdlib.h>

#include "common/base/alloc.h"

void *store_open(size_t size, struct database *database,
                 const struct group_commit_settings *settings, struct bw_error *error)
{
    struct store *store = bw_alloc(size);
    store->database = database;
    if (settings != NULL &&
        group_commit_open(database, settings, &store->commits, error) != BW_OK) {
        free(store);
        return NULL;
    }
    return store;
}

void store_close(void *store)
{
    if (store == NULL)
        return;
    group_commit_close(((struct store *)store)->commits);
    free(store);
}
