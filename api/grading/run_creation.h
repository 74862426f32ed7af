/*
 * run_creation: how a grading run comes into being, whatever its protocol. The insert of the run is
 * what makes it exist; its definition goes with it if it is short, else it is stored before. Called
 * by handlers; nobody waits.
 */
#ifndef API_GRADING_RUN_CREATION_H
#define API_GRADING_RUN_CREATION_H

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* A new run as its definition has it, without an id. It owns nothing. */
void run_describe(const struct definition *definition, struct run *run);

/* Called once, from a thread that must not wait. BW_OK; BW_BAD_REQUEST: the key was used for
 * another run; BW_TOO_LARGE; BW_UNAVAILABLE: it may be there all the same. `run` is borrowed;
 * `error` is NULL with BW_OK. */
typedef void run_created(struct api *api, struct exchange *exchange, enum bw_code code,
                         const struct run *run, const struct bw_error *error);

/* Stores both, under a fresh id, or, if the request has an Idempotency-Key, under the one that
 * belongs to `caller` and key (api/grading/run_key.h): then it may be there already. Takes the
 * reference of `definition` that is handed in, and a copy of `run`. BW_PENDING: `created` will be
 * called; else a refusal, and it will not. */
enum bw_code run_create(struct api *api, struct exchange *exchange, const char *caller,
                        struct definition *definition, const struct run *run, run_created *created,
                        struct bw_error *error) BW_CHECKED;

/* The phase with which it starts. */
enum run_phase run_first_phase(const struct run *run);

#endif
