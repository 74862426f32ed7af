/*
 * waiting_commit: the blocking form of a group commit, for callers that have a thread of their own
 * (the API's executor): submits one document and waits until it is settled. Safe from any thread
 * but the group commit's own.
 */
#ifndef COMMON_STORE_WAITING_COMMIT_H
#define COMMON_STORE_WAITING_COMMIT_H

#include "common/group_commit.h"

/* `document` is borrowed until the return. */
enum commit_outcome waiting_commit(struct group_commit *group_commit, bson_t *document,
                                   int64_t try_ms);

/* The code that stands for an outcome, with a sentence about `what`: BW_OK, BW_CONFLICT,
 * BW_TOO_LARGE, BW_UNAVAILABLE. */
enum bw_code waiting_commit_code(enum commit_outcome outcome, const char *what,
                                 struct bw_error *error) BW_CHECKED;

#endif
