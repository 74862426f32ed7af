/*
 * run_rerun: grades students of an earlier run again, by a new run that is linked to it
 * (common/domain/rerun.h). For handlers of both protocols (ROUTE_BLOCKING).
 */
#ifndef API_GRADING_RUN_RERUN_H
#define API_GRADING_RUN_RERUN_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/run_definition.h"
#include "common/store/run_store.h"

struct api;

/* Checks the object of the new run's definition against the limits of now: the operator may forbid
 * what was allowed earlier. `object` is borrowed. */
typedef enum bw_code rerun_check(struct api *api, json_t *object, struct bw_error *error);

/* Prepares the new run, for run_create: *definition is a new reference, *run describes it.
 * `request`: what rerun_fields allow; `earlier`: borrowed. BW_CONFLICT: the earlier run was never
 * started; BW_UNAVAILABLE; the errors of rerun_select and of `check`. */
enum bw_code run_rerun_prepare(struct api *api, json_t *request, const struct run *earlier,
                               rerun_check *check, struct definition **definition, struct run *run,
                               struct bw_error *error) BW_CHECKED;

#endif
