/*
 * course_store: collection courses: one document with all courses and their tokens (as salted
 * hashes), so that replacing them is one step. Written and read by the API. Safe from any thread.
 */
#ifndef COMMON_STORE_COURSE_STORE_H
#define COMMON_STORE_COURSE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/job.h"
#include "common/base/secret.h"

struct course_store;

struct token_list {
    struct token_hash *items; /* own */
    size_t count;
};

struct course_entry {
    char name[WORKER_ID_SIZE];
    struct token_list tokens;       /* of admins */
    struct token_list query_tokens; /* of those who may only look */
};

struct course_list {
    struct course_entry *items; /* own */
    size_t count;
    int64_t version; /* another one after each replacement; 0: nothing was ever stored */
};

void course_list_clear(struct course_list *list);

enum bw_code course_store_open(struct database *database, struct course_store **store,
                               struct bw_error *error) BW_CHECKED;
void course_store_close(struct course_store *store);

/* Replaces all courses, in one step. BW_UNAVAILABLE: unknown; it may be done again. */
enum bw_code course_store_replace(struct course_store *store, const struct course_list *list,
                                  struct bw_error *error) BW_CHECKED;

/* The version of what is stored. */
enum bw_code course_store_version(struct course_store *store, int64_t *version,
                                  struct bw_error *error) BW_CHECKED;

/* All of it. On BW_OK course_list_clear is owed. */
enum bw_code course_store_read(struct course_store *store, struct course_list *list,
                               struct bw_error *error) BW_CHECKED;

#endif
