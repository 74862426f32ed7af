/*
 * store: the common part of all stores, and how a store is opened and closed. Only for the files of
 * common/store: `struct NAME_store` has a `struct store base` as its first member.
 */
#ifndef COMMON_STORE_STORE_H
#define COMMON_STORE_STORE_H

#include <stddef.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"

struct store {
    struct database *database;    /* borrowed until store_close */
    struct group_commit *commits; /* NULL: the store inserts no batches */
};

/* A store of `size` zeroed bytes that begins with a struct store, for store_close. `settings` are
 * those of its batches, or NULL. NULL, with *error filled: their thread can't be started. */
void *store_open(size_t size, struct database *database,
                 const struct group_commit_settings *settings, struct bw_error *error) BW_CHECKED;

/* Completes the submitted inserts and frees the store. NULL is allowed. */
void store_close(void *store);

#endif
