/*
 * course_store: collection courses: one document with all courses, their tokens (as salted hashes)
 * and the classes that their runs may have, so that replacing them is one step. Written and read by
 * the API. Safe from any thread.
 */
#ifndef COMMON_STORE_COURSE_STORE_H
#define COMMON_STORE_COURSE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/job.h"
#include "common/domain/scheduling.h"
#include "common/base/secret.h"

struct course_store;

struct token_list {
    struct token_hash *items;       /* own */
    char (*names)[TOKEN_NAME_SIZE]; /* own; by token, for the audit; "": it has none */
    size_t count;
};

struct course_entry {
    char name[WORKER_ID_SIZE];
    struct token_list tokens;       /* of admins */
    struct token_list query_tokens; /* of tokens that may only query */
    unsigned classes; /* a bit (1 << enum run_class) for each that its runs may have; 0: the file
                         doesn't say */
    /* As in struct course_share. Only of the course file: scheduling_store stores them. */
    uint32_t weight, max_running;
    bool has_max_running;
};

struct course_list {
    struct course_entry *items; /* own */
    size_t count;
    int64_t version; /* changes with each replacement; 0: nothing was stored yet */
};

/* Frees what the list owns; the list is empty afterwards. */
void course_list_clear(struct course_list *list);

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code course_store_open(struct database *database, struct course_store **store,
                               struct bw_error *error) BW_CHECKED;
void course_store_close(struct course_store *store);

/* Replaces all courses atomically. BW_UNAVAILABLE: unknown; may be repeated. */
enum bw_code course_store_replace(struct course_store *store, const struct course_list *list,
                                  struct bw_error *error) BW_CHECKED;

/* Reads the version of the stored courses; 0: nothing was stored yet. BW_UNAVAILABLE. */
enum bw_code course_store_version(struct course_store *store, int64_t *version,
                                  struct bw_error *error) BW_CHECKED;

/* Reads all courses. On BW_OK the caller frees them with course_list_clear. BW_UNAVAILABLE. */
enum bw_code course_store_read(struct course_store *store, struct course_list *list,
                               struct bw_error *error) BW_CHECKED;

#endif
