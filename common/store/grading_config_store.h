/*
 * grading_config_store: collection grading_configs: how an assignment of a course is graded, as
 * text. A later one replaces an earlier one; a run keeps a copy of that with which it started.
 * Written and read by the API. Safe from any thread.
 */
#ifndef COMMON_STORE_GRADING_CONFIG_STORE_H
#define COMMON_STORE_GRADING_CONFIG_STORE_H

#include <stddef.h>

#include "common/db/database.h"

struct grading_config_store;

enum bw_code grading_config_store_open(struct database *database,
                                       struct grading_config_store **store, struct bw_error *error)
    BW_CHECKED;
void grading_config_store_close(struct grading_config_store *store);

/* Stores it, in place of what was there; durable on return. BW_TOO_LARGE; BW_UNAVAILABLE: unknown,
 * and it may be done again. */
enum bw_code grading_config_store_put(struct grading_config_store *store, const char *course,
                                      const char *assignment, const char *text, size_t length,
                                      struct bw_error *error) BW_CHECKED;

/* *text is new (free()). BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code grading_config_store_get(struct grading_config_store *store, const char *course,
                                      const char *assignment, char **text, size_t *length,
                                      struct bw_error *error) BW_CHECKED;

#endif
