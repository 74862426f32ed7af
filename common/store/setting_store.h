/*
 * setting_store: collection settings: small values that the first process creates and the others
 * read: the internal token of one machine, the cluster token's hash, the key of run ids. Safe from
 * any thread.
 */
#ifndef COMMON_STORE_SETTING_STORE_H
#define COMMON_STORE_SETTING_STORE_H

#include "common/db/database.h"

struct setting_store;

enum { SETTING_SIZE = 512 };

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code setting_store_open(struct database *database, struct setting_store **store,
                                struct bw_error *error) BW_CHECKED;
void setting_store_close(struct setting_store *store);

/* Inserts `proposed` under `name` unless a value exists; `value` receives the stored value;
 * *is_new: this call stored it. Of two processes at once, one inserts and the other reads. */
enum bw_code setting_store_agree(struct setting_store *store, const char *name,
                                 const char *proposed, char value[SETTING_SIZE], bool *is_new,
                                 struct bw_error *error) BW_CHECKED;

#endif
