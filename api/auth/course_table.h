/*
 * course_table: the courses and their tokens as this replica knows them: what the collection holds,
 * looked at twice a second by a thread of its own, so that whatever one replica stored all of them
 * soon go by. Callers: main (open, settle, close), course_route (judge). Safe from any thread;
 * judging never waits.
 */
#ifndef API_AUTH_COURSE_TABLE_H
#define API_AUTH_COURSE_TABLE_H

#include "api/auth/known_tokens.h"
#include "common/base/error.h"
#include "common/store/course_store.h"

struct course_table;

/* What a token is to a course. Unsettled: nobody can say before course_table_settle. */
enum course_standing {
    COURSE_UNKNOWN,
    COURSE_STRANGER,
    COURSE_MEMBER,
    COURSE_ADMIN,
    COURSE_UNSETTLED
};

/* Knows nothing until course_table_settle; begins to look. `known` (NULL: nobody) is told of the
 * tokens in the file. BW_INTERNAL: no thread. */
enum bw_code course_table_open(struct course_store *store, struct known_tokens *known,
                               struct course_table **table, struct bw_error *error) BW_CHECKED;
void course_table_close(struct course_table *table); /* NULL is fine */

/* The list of --course-config, if there is one (NULL: none), takes the place of what is stored;
 * then what is stored is read. BW_UNAVAILABLE. */
enum bw_code course_table_settle(struct course_table *table, const struct course_list *list,
                                 struct bw_error *error) BW_CHECKED;

/* The same while serving, with the file of --course-config read again: what goes wrong is logged,
 * and the courses stay as they were. */
void course_table_reread(struct course_table *table, const char *path);

/* Takes about the same time whatever the course and whether the token is right. */
enum course_standing course_table_judge(struct course_table *table, const char *course,
                                        const char *token);

#endif
