/*
 * job_files: the list `files` of a hand-out:
 *
 *     [{"path": "input/tests/run.sh", "digest": "sha256:…", "size": 120}, …,
 *      {"path": "shared", "digest": "sha256:…", "size": 10240, "unpack": true}]
 *
 * It has the files of the run's definition (common/domain/run_files.h) and, in students' jobs, what
 * the job before them shared. Callers: api/grading/hand_out_files.c, and the protocols' makers of
 * hand-outs. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_JOB_FILES_H
#define COMMON_DOMAIN_JOB_FILES_H

#include <jansson.h>

#include "common/domain/job.h"
#include "common/domain/run_definition.h"

/* The files of a job. New reference; NULL: it has none. */
json_t *job_files_make(const struct definition *definition, const struct job_id *job);

/* Adds the member `files` to the text of a hand-out, a compact JSON object, or, with `levels` 2, to
 * the object that is the last member of one. `payload` is stolen; the new text is the caller's
 * (free()). `files` NULL: the same text. */
char *job_files_add(char *payload, unsigned levels, const json_t *files);

/* The same for the member `image_digests`: the pins of the job's images, {IMAGE: DIGEST}. */
char *job_files_add_image_digests(char *payload, unsigned levels, const json_t *digests);

/* The same for the member `traceparent` (common/domain/trace.h). "": the same text. */
char *job_files_add_traceparent(char *payload, unsigned levels, const char *traceparent);

#endif
