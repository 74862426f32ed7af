/*
 * run_key: the id that a grading run gets from an Idempotency-Key. All replicas must make the same
 * one, and nobody else any: it is an HMAC of the course and the key, with a secret that the first
 * process makes and the collection settings keeps.
 *
 * Before that there were ids that were a plain hash of the two. Where the database held runs
 * already when the secret was made, some of these may have one: `has_plain` says that it must be
 * looked up, which costs a read by _id per submission with a key. No state; safe from any thread.
 */
#ifndef API_AUTH_RUN_KEY_H
#define API_AUTH_RUN_KEY_H

#include <stdbool.h>

#include "common/domain/job.h"
#include "common/store/run_store.h"
#include "common/store/setting_store.h"

struct run_key {
    char secret[65];
    bool has_plain;
};

/* Reads the secret, or makes it (waits). BW_UNAVAILABLE; BW_INTERNAL: what is kept can't be read.
 */
enum bw_code run_key_agree(struct setting_store *settings, struct run_store *runs,
                           struct run_key *key, struct bw_error *error) BW_CHECKED;

/* The id of the run of `course` ("": of none, a classic one) under this Idempotency-Key. */
void run_key_id(const struct run_key *key, const char *course, const char *idempotency_key,
                char id[RUN_ID_SIZE]);

/* The one that it had before there was a secret; `caller` is the course, or "seed". */
void run_key_plain_id(const char *caller, const char *idempotency_key, char id[RUN_ID_SIZE]);

#endif
