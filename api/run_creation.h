/*
 * run_creation: how a grading run comes into being, whatever its protocol: first its definition is
 * stored, then the run, whose insert is what makes it exist. Called by handlers, on the executor:
 * it waits for the database.
 */
#ifndef API_RUN_CREATION_H
#define API_RUN_CREATION_H

#include "common/definition.h"
#include "common/error.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* A new run as its definition has it, without an id. It owns nothing. */
void run_describe(const struct definition *definition, struct run *run);

/* Stores both, under a fresh id, or, if the request has an Idempotency-Key, under the one that
 * belongs to `caller` and key: then it may be there already. BW_BAD_REQUEST: the key was used for
 * another run; BW_TOO_LARGE; BW_UNAVAILABLE: it may be there all the same. */
enum bw_code run_create(struct api *api, const struct exchange *exchange, const char *caller,
                        struct definition *definition, struct run *run, struct bw_error *error)
    BW_CHECKED;

/* The phase with which it starts. */
enum run_phase run_first_phase(const struct run *run);

#endif
