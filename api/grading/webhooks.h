/*
 * webhooks: the webhooks of the cluster, of courses and of runs: creating, listing and deleting
 * them, and the log of their deliveries (docs/webhooks.md). The scheduler sends. Callers: handlers
 * of all protocols that may wait for the database (ROUTE_BLOCKING).
 */
#ifndef API_GRADING_WEBHOOKS_H
#define API_GRADING_WEBHOOKS_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/domain/webhook.h"

struct api;
struct run;

/* "after", an event id, and "limit", of a list of deliveries. */
extern const struct json_field webhooks_deliveries_fields[];
/* "event_id" */
extern const struct json_field webhooks_redeliver_fields[];

/* Creates a webhook of the course ("": of the cluster) from checked arguments. *answer is new:
 * {"webhook": what is shown of it, with its secret}. BW_CONFLICT: there are too many;
 * BW_UNAVAILABLE: unknown. */
enum bw_code webhooks_create(struct api *api, const char *course, const json_t *arguments,
                             json_t **answer, struct bw_error *error) BW_CHECKED;

/* *answer is new: {"webhooks": [...]}, those of the run, or of the course if `run` is "", or of the
 * cluster if both are "". BW_UNAVAILABLE. */
enum bw_code webhooks_list(struct api *api, const char *course, const char *run, json_t **answer,
                           struct bw_error *error) BW_CHECKED;

/* The functions below are about a webhook of the course or of a run of the course; of any, if
 * `course` is NULL. BW_BAD_REQUEST: there is none with that id. */

/* Deletes it, with its pending deliveries and their log. BW_UNAVAILABLE: unknown. */
enum bw_code webhooks_delete(struct api *api, const char *course, const char *id,
                             struct bw_error *error) BW_CHECKED;

/* *answer is new: {"deliveries": [...], "next": event id or null}, the newest first. */
enum bw_code webhooks_list_deliveries(struct api *api, const char *course, const char *id,
                                      const json_t *arguments, json_t **answer,
                                      struct bw_error *error) BW_CHECKED;

/* Puts a delivery to the end of the queue, to be sent at once. */
enum bw_code webhooks_redeliver(struct api *api, const char *course, const char *id,
                                const json_t *arguments, struct bw_error *error) BW_CHECKED;

/* ---- Webhooks of a run that is being created ---- */

/* Stores the webhooks of a submission (a checked list), under ids that are computed from the run's
 * id and the digest of its definition ("": it has no Idempotency-Key), so that a repeated request
 * stores nothing new. *shown is new: what is shown of those that are stored, with their secrets.
 * BW_UNAVAILABLE: unknown. */
enum bw_code webhooks_store_of_run(struct api *api, const struct run *run, const char *digest,
                                   const json_t *submitted, json_t **shown, struct bw_error *error)
    BW_CHECKED;

/* Deletes the `count` webhooks that were stored with that digest: the run is refused. Those of
 * another run that has the same id stay. A failure is logged. */
void webhooks_remove_of_run(struct api *api, const struct run *run, const char *digest,
                            size_t count);

#endif
