/*
 * course_config: the file of --course-config: courses and their tokens, JSON:
 *
 *     {"COURSE": {"tokens": ["..."], "query_tokens": ["..."]}, ...}
 *
 * Called by main, at start and at SIGHUP. Reads a file; no state.
 */
#ifndef API_AUTH_COURSE_CONFIG_H
#define API_AUTH_COURSE_CONFIG_H

#include "api/auth/known_tokens.h"
#include "common/base/error.h"
#include "common/store/course_store.h"

/* Reads and checks the file; the tokens are hashed, each with a salt of its own, and `known` (NULL:
 * nobody) is told of them. On BW_OK
 * course_list_clear is owed. BW_BAD_REQUEST with a sentence that names file and course, never a
 * token. */
enum bw_code course_config_read(const char *path, struct known_tokens *known,
                                struct course_list *list, struct bw_error *error) BW_CHECKED;

/* The same for its text. */
enum bw_code course_config_parse(const char *text, size_t length, struct known_tokens *known,
                                 struct course_list *list, struct bw_error *error) BW_CHECKED;

#endif
