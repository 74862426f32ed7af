/*
 * definition_shape: what a grading run's definition may look like: the tables of its keys, its
 * limits, and whether every environment in it resolves. For definition.c, and for
 * course_definition.c what stages have in common. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_RUN_SCHEMA_H
#define COMMON_DOMAIN_RUN_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/domain/job.h"

/* How long Linux lets the name of a host be, in bytes. */
enum { HOST_NAME_LONGEST = 64 };

/* Checks what was submitted, as definition_new promises. Takes time in proportion to the text that
 * was submitted, however many jobs it stands for. */
enum bw_code definition_check(const json_t *object, const struct definition_limits *limits,
                              struct bw_error *error) BW_CHECKED;

/* Does what was stored have the shape on which definition.c relies? Keys that a newer version may
 * have added are fine. */
bool definition_is_sound(const json_t *object);

/* Checks of a stage's values, for tables of fields in either protocol. `context` of the first is a
 * struct definition_limits. */
enum bw_code stage_check_privileged(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error) BW_CHECKED;
enum bw_code stage_check_timeout(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error) BW_CHECKED;

/* No argument is too long for a program to be started with it. */
enum bw_code stage_check_entrypoint(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error) BW_CHECKED;

/* The stages of that kind of job, borrowed; NULL: there is no such job. A sound definition always
 * has student jobs' stages. */
const json_t *definition_pipeline(const json_t *object, enum job_kind kind);

/* The key under which they stand. Static. */
const char *definition_pipeline_name(enum job_kind kind);

#endif
