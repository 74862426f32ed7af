/*
 * rerun: the request to grade students of an earlier run again, and the definition of the new run.
 * The stored definition of a rerun has one key more than that of other runs:
 *
 *     "rerun": {"of": RUN_ID, "request": {...}, "students": [position in the earlier run, ...]}
 *
 * Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_RERUN_H
#define COMMON_DOMAIN_RERUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/domain/job.h"
#include "common/domain/run_definition.h"

/* The keys of a request: exactly one of "select" ("all", "failed" or "cancelled"), "signature" (of
 * failures) and "students" (a list of positions, or of objects whose members a student's
 * environment must have); "priority" and "class". */
extern const struct json_field rerun_fields[];

/* Adds the positions of the students that the request (which was checked with rerun_fields) names.
 * `students`: the environments of the earlier run, in order; `outcomes`: an outcome per student;
 * for a request with a signature, OUTCOME_FAILED only for failures that have it. On BW_OK *selected
 * is a new list, free(), in rising order, each position once, with *count > 0. BW_BAD_REQUEST: the
 * request has not exactly one of the three keys, names an unknown student, or nobody. */
enum bw_code rerun_select(const json_t *request, const json_t *students,
                          const enum job_outcome *outcomes, uint32_t **selected, uint32_t *count,
                          struct bw_error *error) BW_CHECKED;

/* The priority of the new run: the request's, else 10 below the earlier run's, at least -100. */
int rerun_priority(const json_t *request, int earlier);

/* The object of the new run's definition, in the form in which runs are submitted: that of
 * `earlier`, with the selected students alone. New reference. */
json_t *rerun_object(const struct definition *earlier, const uint32_t *selected, uint32_t count);

/* Makes the definition of the new run from that object, which was checked, with the class of the
 * request, if it has one. All arguments are borrowed; returns a new reference. */
struct definition *rerun_define(json_t *object, const char *earlier_id, json_t *request,
                                const uint32_t *selected, uint32_t count);

/* The positions of the run's students in the earlier run (borrowed); NULL: the run is no rerun. */
const json_t *rerun_students(const struct definition *definition);

#endif
