/*
 * definition_submitted: what a client has submitted as a run, from the definition that is stored:
 * without the sizes of files and the members of a rerun, which Broadway has added. Pure; safe from
 * any thread.
 */
#ifndef COMMON_DOMAIN_DEFINITION_SUBMITTED_H
#define COMMON_DOMAIN_DEFINITION_SUBMITTED_H

#include <jansson.h>

#include "common/domain/run_definition.h"

/* The object that was submitted; for a run of a course {"course", "assignment", "config", "run"},
 * with the config of that time. New reference, which shares its members with the definition. */
json_t *definition_submitted(const struct definition *definition);

#endif
