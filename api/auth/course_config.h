/*
 * course_config: reads the file of --course-config: courses, their tokens and their shares, as
 * JSON:
 *
 *     {"COURSE": {"tokens": ["..."], "query_tokens": ["..."],
 *                 "weight": 200, "max_running": 50, "classes": ["exam", "normal"]}, ...}
 *
 * Called by service at startup and by course_table at SIGHUP, on main's thread. No state.
 */
#ifndef API_AUTH_COURSE_CONFIG_H
#define API_AUTH_COURSE_CONFIG_H

#include "api/auth/known_tokens.h"
#include "common/base/error.h"
#include "common/store/course_store.h"

/* Reads and checks the file. Hashes the tokens, each with a salt of its own, and adds them to
 * `known` (may be NULL). On BW_OK the caller must call course_list_clear. BW_BAD_REQUEST: the
 * sentence names file and course, never a token. */
enum bw_code course_config_read(const char *path, struct known_tokens *known,
                                struct course_list *list, struct bw_error *error) BW_CHECKED;

/* The same for `length` bytes of text in place of a file. For tests. */
enum bw_code course_config_parse(const char *text, size_t length, struct known_tokens *known,
                                 struct course_list *list, struct bw_error *error) BW_CHECKED;

#endif
