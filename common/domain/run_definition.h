/*
 * definition: what an instructor submitted, parsed and checked: the pipelines, the students, the
 * env. Immutable once made, so that any number of threads may read one; reference-counted, so that
 * a cache may drop it while it is in use.
 */
#ifndef COMMON_DOMAIN_RUN_DEFINITION_H
#define COMMON_DOMAIN_RUN_DEFINITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/domain/job.h"

struct definition;

struct definition_limits {
    bool allow_privileged;
    /* Of a job's stages once expanded, and of those of all jobs of a run
     * (common/domain/job_size.h); 0: no limit. */
    int64_t max_job_bytes, max_run_bytes;
};

/* What the run's small document takes from it. */
struct definition_summary {
    bool has_pre, has_post;
    uint32_t students;
    bool student_has_stages;
    int priority;     /* -100..100, default 0 */
    int max_attempts; /* 1..10, or 0: the scheduler's default */
    const char *name; /* borrowed from the definition; NULL if none */
    /* per job kind: the sum of the stages' timeouts in ms, rounded up, and how many stages have
     * none */
    int64_t timeout_ms[3];
    uint32_t untimed_stages[3];
};

/* Takes what a run of the course protocol is made of (common/domain/course_definition.h). `object`
 * is borrowed, a reference is kept; it is sound. NULL: no memory. */
struct definition *definition_of_course(json_t *object);

/* What it was made of; borrowed, and never changed. */
const json_t *definition_object(const struct definition *definition);

bool definition_is_course(const struct definition *definition);

/* Checks a submitted object (closed at every level) and takes it. `object` is borrowed; a reference
 * is kept. On BW_OK *definition is new (one reference). BW_BAD_REQUEST with the path of what is
 * wrong, resolving every environment once (the student pipeline once per student); BW_TOO_LARGE: a
 * job, or the run, is larger than the limits say once it is expanded. */
enum bw_code definition_new(json_t *object, const struct definition_limits *limits,
                            struct definition **definition, struct bw_error *error) BW_CHECKED;

/* Parses a definition that was stored by definition_text; privileged is not judged again. */
enum bw_code definition_load(const char *text, size_t length, struct definition **definition,
                             struct bw_error *error) BW_CHECKED;

struct definition *definition_hold(struct definition *definition);
void definition_release(struct definition *definition); /* NULL is fine */

/* The definition as compact JSON text, keys in the order written: what is stored. New string,
 * free(); NULL: no memory. */
char *definition_text(const struct definition *definition);

/* The same with the keys of every object sorted: two definitions that differ in the order of keys
 * alone have one such text. New string, free(); NULL: no memory. */
char *definition_canonical_text(const struct definition *definition);

struct definition_summary definition_summary(const struct definition *definition);

/* About how many bytes it takes in memory. */
size_t definition_size(const struct definition *definition);

/* The body of a hand-out: {"job_id", "attempt", "stages": [stage as submitted, env replaced by its
 * expanded list]}, with "students" for pre- and post-processing. A stage without any env gets
 * "env": []. *payload is new JSON text, free(). BW_NOT_FOUND: the run has no such job. */
enum bw_code definition_job_payload(const struct definition *definition, const struct job_id *job,
                                    uint32_t attempt, char **payload, struct bw_error *error)
    BW_CHECKED;

/* The stages of a student's job as a status shows them: [{stage keys as submitted, "env": {NAME:
 * value}}]: an array of objects with "image", "env" (always, an object, later wins) and the other
 * keys exactly as submitted. New reference; NULL: no memory. */
json_t *definition_student_stages(const struct definition *definition, uint32_t student);

#endif
