/*
 * grading_config_store: collection grading_configs: the grading configs of courses' assignments, as
 * text. A new config replaces the previous one; a run keeps a copy of the config with which it was
 * started. Written and read by the API. Safe from any thread.
 */
#ifndef COMMON_STORE_GRADING_CONFIG_STORE_H
#define COMMON_STORE_GRADING_CONFIG_STORE_H

#include <stddef.h>

#include "common/db/database.h"

struct grading_config_store;

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code grading_config_store_open(struct database *database,
                                       struct grading_config_store **store, struct bw_error *error)
    BW_CHECKED;
void grading_config_store_close(struct grading_config_store *store);

/* Stores it and replaces the previous one; durable on return. BW_TOO_LARGE; BW_UNAVAILABLE:
 * unknown; may be repeated. */
enum bw_code grading_config_store_put(struct grading_config_store *store, const char *course,
                                      const char *assignment, const char *text, size_t length,
                                      struct bw_error *error) BW_CHECKED;

/* *text is new (free()). BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code grading_config_store_get(struct grading_config_store *store, const char *course,
                                      const char *assignment, char **text, size_t *length,
                                      struct bw_error *error) BW_CHECKED;

#endif
