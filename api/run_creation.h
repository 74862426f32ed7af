/*
 * run_creation: how a grading run comes into being, whatever its protocol: first its definition is
 * stored, then the run, whose insert is what makes it exist; a small definition is stored with the
 * run. Called by handlers, on any thread.
 * Nobody waits: between the steps a creation belongs to the store's thread that goes on with it, or
 * to the executor where it has to read.
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

struct run_creation {
    const struct exchange *exchange; /* for its Idempotency-Key */
    const char *caller;              /* whose key that is */
    struct definition *definition;
    struct run run; /* as its definition has it */
    /* Called once, from any thread; `id` is the run's (borrowed) with BW_OK, otherwise NULL.
     * BW_BAD_REQUEST: the key was used for another run. BW_TOO_LARGE. BW_UNAVAILABLE: it may be
     * there all the same. */
    void (*settled)(enum bw_code code, const char *id, const struct bw_error *error, void *context);
    void *context;
};

/* Stores both, under a fresh id, or, if the request has an Idempotency-Key, under the one that
 * belongs to `caller` and key: then it may be there already. `creation` is borrowed during the
 * call, its definition longer. BW_OK: `settled` is called, now or later. Otherwise it is not:
 * BW_BAD_REQUEST: the key can't be one; BW_TOO_LARGE, BW_INTERNAL. */
enum bw_code run_creation_begin(struct api *api, const struct run_creation *creation,
                                struct bw_error *error) BW_CHECKED;

/* The phase with which it starts. */
enum run_phase run_first_phase(const struct run *run);

#endif
