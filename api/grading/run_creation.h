/*
 * run_creation: creates a grading run, in either protocol, from a submission that was checked
 * (common/domain/submission_check.h, course_submission_check.h). It refuses only a misused
 * Idempotency-Key, a run whose files are not stored (run_file_claim.h), and a run that the database
 * has no room for. A run exists once it is inserted; a short definition is in the same document, a
 * long one is inserted before. Called by handlers, from
 * any thread; no function waits.
 */
#ifndef API_GRADING_RUN_CREATION_H
#define API_GRADING_RUN_CREATION_H

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* Fills *run with the values of its definition, without an id. The run owns nothing. */
void run_describe(const struct definition *definition, struct run *run);

/* Called once, from a thread that must not wait. BW_OK; BW_BAD_REQUEST: the key was used for
 * another run; BW_TOO_LARGE; BW_UNAVAILABLE: the outcome is unknown, and the run may exist. `run`
 * is borrowed; `error` is NULL with BW_OK. */
typedef void run_created(struct api *api, struct exchange *exchange, enum bw_code code,
                         const struct run *run, const struct bw_error *error);

/* Stores the definition and the run, under a new id; or, if the request has an Idempotency-Key,
 * under the id that is computed from the run's course and the key (api/auth/run_key.h), where a run
 * may exist already. `caller`: the course, or "seed" for a classic run, from which earlier versions
 * computed the id. Takes the caller's reference to `definition`, also on failure, and a copy of
 * `run`. BW_PENDING: `created` will be called. Any other code is an error, and `created` will not
 * be called. */
enum bw_code run_create(struct api *api, struct exchange *exchange, const char *caller,
                        struct definition *definition, const struct run *run, run_created *created,
                        struct bw_error *error) BW_CHECKED;

/* Moves the webhooks of a classic submission out of its document, which becomes the definition,
 * into the request's arguments, where those of a course's run are: run_create stores them. */
void run_creation_move_webhooks(struct exchange *exchange, json_t *document);

/* What is shown of the webhooks of a run that was just created, with their secrets; borrowed. NULL:
 * it has none. */
json_t *run_creation_webhooks(const struct exchange *exchange);

/* The phase with which the run starts. Pure. */
enum run_phase run_first_phase(const struct run *run);

#endif
