/*
 * run_key: computes the id of a grading run from an Idempotency-Key. All replicas must compute the
 * same id, and callers must not be able to compute it: the id is an HMAC of the course and the key,
 * with a secret that the first process creates and stores in the collection settings.
 *
 * In earlier versions the id was a plain hash of the two. If the database held runs when the secret
 * was created, some of these may have such an id: then `has_plain` is true, and each submission
 * with a key reads that id, too. No state; safe from any thread.
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

/* Reads the secret, or creates it. Waits for the database. BW_UNAVAILABLE; BW_INTERNAL: the stored
 * value can't be read. */
enum bw_code run_key_agree(struct setting_store *settings, struct run_store *runs,
                           struct run_key *key, struct bw_error *error) BW_CHECKED;

/* The id of the run of `course` ("" for a classic run) with this Idempotency-Key. */
void run_key_id(const struct run_key *key, const char *course, const char *idempotency_key,
                char id[RUN_ID_SIZE]);

/* The id that earlier versions computed, without a secret. `caller`: the course, or "seed" for a
 * classic run. */
void run_key_plain_id(const char *caller, const char *idempotency_key, char id[RUN_ID_SIZE]);

#endif
