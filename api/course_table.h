/*
 * course_table: the courses and their tokens as this replica knows them: what the collection holds,
 * looked at twice a second by a thread of its own, so that whatever one replica stored all of them
 * soon go by. Callers: main (open, load, close), course_route (judge). Safe from any thread;
 * judging never waits.
 */
#ifndef API_COURSE_TABLE_H
#define API_COURSE_TABLE_H

#include "common/error.h"
#include "common/store/course_store.h"

struct course_table;

/* What a token is to a course. */
enum course_standing { COURSE_UNKNOWN, COURSE_STRANGER, COURSE_MEMBER, COURSE_ADMIN };

/* Knows nothing until course_table_load; begins to look. BW_INTERNAL: no thread. */
enum bw_code course_table_open(struct course_store *store, struct course_table **table,
                               struct bw_error *error) BW_CHECKED;
void course_table_close(struct course_table *table); /* NULL is fine */

/* Reads what is stored, now. BW_UNAVAILABLE. */
enum bw_code course_table_load(struct course_table *table, struct bw_error *error) BW_CHECKED;

/* Takes about the same time whatever the course and whether the token is right. */
enum course_standing course_table_judge(struct course_table *table, const char *course,
                                        const char *token);

#endif
