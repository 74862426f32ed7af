/* run_definition: an instructor's submission, parsed and checked: the pipelines, the students, the
 * env. It is immutable, but for what definition_set_shared adds once, so any number of threads may
 * read it, and reference-counted, so a cache may
 * drop it while it is in use.
 */
#ifndef COMMON_DOMAIN_RUN_DEFINITION_H
#define COMMON_DOMAIN_RUN_DEFINITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/domain/submission_limits.h"
#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/run_files.h"
#include "common/domain/scheduling.h"

struct definition;

/* The fields for the run's own document. */
struct definition_summary {
    bool has_pre, has_post;
    uint32_t students;
    bool student_has_stages;
    int priority;     /* -100..100, default 0 */
    int max_attempts; /* 1..10, or 0: the scheduler's default */
    uint32_t breaker; /* after how many equal failures it pauses; 0: never */
    const char *name; /* borrowed from the definition; NULL if none */
    enum run_class run_class;
    const char *submitter; /* borrowed from the definition; NULL if none */
    /* per job kind: the sum of the stages' timeouts in ms, rounded up, and how many stages have
     * none */
    int64_t timeout_ms[3];
    uint32_t untimed_stages[3];
};

/* Takes the definition of a run, whose object was checked, in either protocol's form
 * (common/domain/course_definition.h for courses). `object` is borrowed, a reference is kept. */
struct definition *definition_take(json_t *object);

/* The definition's object; borrowed, immutable. */
const json_t *definition_object(const struct definition *definition);

/* The students' environments, one per job, in order; borrowed. */
const json_t *definition_students(const struct definition *definition);

enum protocol definition_protocol(const struct definition *definition);

/* Its files; borrowed. */
struct run_files definition_files(const struct definition *definition);

/* Its rules for the owners of failures (common/domain/owner_rules.h); borrowed, immutable. NULL: it
 * has none. */
const json_t *definition_owner_rules(const struct definition *definition);
/* The digests of its students' supersede keys in that scope (common/domain/supersede.h). New,
 * free(); NULL: it has none. */
uint8_t *definition_supersede_digests(const struct definition *definition, const char *course,
                                      const char *assignment);

/* The labels of the run, as JSON text. New, free(); NULL: it has none. */
char *definition_labels(const struct definition *definition);

/* The tags that the run requires of its graders (run_requires_text). New, free(); NULL: none. */
char *definition_requires(const struct definition *definition);

/* What share of its usual time a job must have had, so that its newer one lets it go on. */
double definition_supersede_share(const struct definition *definition);

/* The files of a job's hand-out (run_files_of_job). New reference; NULL: the job has none. */
json_t *definition_job_files(const struct definition *definition, const struct job_id *job);

/* Checks a submitted object (closed at every level) and takes it. `object` is borrowed; a reference
 * is kept. On BW_OK *definition is new (one reference). Every environment is resolved once (the
 * student pipeline's once per student). BW_BAD_REQUEST with the path of the error; BW_TOO_LARGE: a
 * job, or the run, exceeds the limits when expanded. */
enum bw_code definition_new(json_t *object, const struct submission_limits *limits,
                            struct definition **definition, struct bw_error *error) BW_CHECKED;

/* Parses a definition that was stored by definition_text; `privileged` is not checked again.
 * `limits` (NULL: none) as for json_parse_within, and its codes. */
enum bw_code definition_load(const char *text, size_t length, const struct json_limits *limits,
                             struct definition **definition, struct bw_error *error) BW_CHECKED;

/* Adds a reference and returns the definition. */
struct definition *definition_hold(struct definition *definition);
void definition_release(struct definition *definition); /* NULL is allowed */

/* The definition as compact JSON text, keys in the order written: what is stored. New string,
 * free(); NULL: no memory. */
char *definition_text(const struct definition *definition);

/* The same with the keys of every object sorted: two definitions that differ only in the order of
 * keys have the same text. Of a rerun (common/domain/rerun.h): the same for what was asked, so that
 * two equal requests have the same text, whatever they selected. New string, free(); NULL: no
 * memory. */
char *definition_canonical_text(const struct definition *definition);

/* SHA-256 of the whole definition with the keys of every object sorted (also of a rerun), in
 * lower-case hex: what receipts name it by (docs/receipts.md). Computed at the first call. */
void definition_digest(struct definition *definition, char digest[SHA256_TEXT_SIZE]);

/* The same of the stages of a job as they are handed out, with their expanded environments. False:
 * the run has no such job. */
bool definition_stages_digest(const struct definition *definition, const struct job_id *job,
                              char digest[SHA256_TEXT_SIZE]);

struct definition_summary definition_summary(const struct definition *definition);

/* The stages of jobs of that kind; borrowed, immutable. NULL: there is no such job. */
const json_t *definition_stages(const struct definition *definition, enum job_kind kind);

/* Whether the run has a job before the students. */
bool definition_has_pre(const struct definition *definition);

/* Keeps, beside the definition, what the job before the students has shared with theirs: an entry
 * of their list of files, or null for nothing. `shared` is stolen; only the first call counts. Safe
 * from any thread. */
void definition_set_shared(struct definition *definition, json_t *shared);

/* What was kept; borrowed, immutable. NULL: nothing was kept yet. */
json_t *definition_shared(const struct definition *definition);

/* Its approximate size in memory, in bytes. */
size_t definition_size(const struct definition *definition);

/* The body of a hand-out: {"job_id", "attempt", "stages": [stage as submitted, env replaced by its
 * expanded list]}, with "students" for pre- and post-processing. A stage without any env gets
 * "env": []. *payload is new JSON text, free(). BW_NOT_FOUND: the run has no such job. */
enum bw_code definition_job_payload(const struct definition *definition, const struct job_id *job,
                                    uint32_t attempt, char **payload, struct bw_error *error)
    BW_CHECKED;

/* The environment of a student, as submitted; borrowed, immutable. NULL: the run has no such
 * student. */
const json_t *definition_student(const struct definition *definition, uint32_t student);

/* The stages of a student's job of the run with this id, as a status shows them: [{stage keys as
 * submitted, "env": {NAME: value}}]: an array of objects with "image", "env" (always, an object,
 * later wins) and the other keys exactly as submitted. Of a course's run: as its graders get them.
 * New reference; NULL: the run has no such student. */
json_t *definition_student_stages(const struct definition *definition, const char *run,
                                  uint32_t student);

#endif
