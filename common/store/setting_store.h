/*
 * setting_store: collection settings: small facts that the first process makes and the others read:
 * the internal token of one machine, the cluster token's hash. Safe from any thread.
 */
#ifndef COMMON_STORE_SETTING_STORE_H
#define COMMON_STORE_SETTING_STORE_H

#include "common/db/database.h"

struct setting_store;

enum { SETTING_SIZE = 512 };

enum bw_code setting_store_open(struct database *database, struct setting_store **store,
                                struct bw_error *error) BW_CHECKED;
void setting_store_close(struct setting_store *store);

/* Inserts `proposed` under `name` unless something stands there; `value` receives what then stands
 * there; *is_new tells whether that was this call's. Two processes at once: one wins, the other
 * reads. */
enum bw_code setting_store_agree(struct setting_store *store, const char *name,
                                 const char *proposed, char value[SETTING_SIZE], bool *is_new,
                                 struct bw_error *error) BW_CHECKED;

#endif
