/*
 * course_table: the courses and their tokens, as this replica has read them. A thread of its own
 * checks twice a second whether the stored courses have changed, so that all replicas soon use what
 * one of them has stored. Callers: service (open, store, close), main (reread), the course protocol
 * (check). Safe from any thread; course_table_check never waits.
 */
#ifndef API_AUTH_COURSE_TABLE_H
#define API_AUTH_COURSE_TABLE_H

#include "api/auth/known_tokens.h"
#include "common/base/error.h"
#include "common/store/course_store.h"
#include "common/store/scheduling_store.h"

struct course_table;

/* What a token authorizes for a course. */
enum course_standing {
    COURSE_UNKNOWN,   /* there is no such course */
    COURSE_STRANGER,  /* the token is not one of the course's */
    COURSE_MEMBER,    /* one of its query_tokens: may only read */
    COURSE_ADMIN,     /* one of its tokens */
    COURSE_NOT_LOADED /* course_table_store has not succeeded yet */
};

/* Creates an empty table, and starts its thread. Until course_table_store, checks return
 * COURSE_NOT_LOADED. Borrows `store`, `scheduling` and `known` until course_table_close. `known`
 * gets the tokens of files that course_table_reread reads; NULL: they are not kept. BW_INTERNAL: no
 * thread. */
enum bw_code course_table_open(struct course_store *store, struct scheduling_store *scheduling,
                               struct known_tokens *known, struct course_table **table,
                               struct bw_error *error) BW_CHECKED;
void course_table_close(struct course_table *table); /* NULL is allowed */

/* Replaces the stored courses by `list`, from --course-config (NULL: they stay), and their shares
 * (common/store/scheduling_store.h), then reads the stored courses. Waits for the database.
 * BW_UNAVAILABLE. */
enum bw_code course_table_store(struct course_table *table, const struct course_list *list,
                                struct bw_error *error) BW_CHECKED;

/* Reads the file of --course-config at `path` again, and stores its courses. Waits for the
 * database. Errors are logged, and leave the courses unchanged. */
void course_table_reread(struct course_table *table, const char *path);

/* What `token` authorizes for `course`, and the token's name ("": none, or COURSE_UNKNOWN and the
 * like). Takes about the same time for any course and token. */
enum course_standing course_table_check(struct course_table *table, const char *course,
                                        const char *token, char name[TOKEN_NAME_SIZE]);

/* Sets the classes that the runs of a course may have, as bits (1 << enum run_class); `classes` may
 * be NULL. BW_OK; BW_NOT_FOUND: there is no such course; BW_UNAVAILABLE: course_table_store has not
 * succeeded yet. Never waits. */
enum bw_code course_table_find(struct course_table *table, const char *course, unsigned *classes,
                               struct bw_error *error) BW_CHECKED;

/* Calls `each` for every course, in no order; `entry` is borrowed during the call. Never waits. */
void course_table_each(struct course_table *table,
                       void (*each)(const struct course_entry *entry, void *context),
                       void *context);

#endif
