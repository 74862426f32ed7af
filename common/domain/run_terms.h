/*
 * run_terms: the name and the labels of a run, in either protocol, and the terms by which a list
 * finds it. A label is a key with a value, such as {"team": "autograder"}.
 *
 * A term is a text that one index answers. Each begins with the scope of the run: its course, or
 * the classic protocol, so that a list never leaves its scope. A run has the term of its scope, and
 * one more for its assignment, its name, each key of a label, and each label.
 *
 * Callers: the checks of a submission, run_definition.c, the stores of runs, the lists of the API.
 * Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_RUN_TERMS_H
#define COMMON_DOMAIN_RUN_TERMS_H

#include <jansson.h>

#include "common/base/error.h"

enum {
    RUN_NAME_LONGEST = 200, /* bytes */
    LABELS_MAX = 16,        /* of a run */
    LABEL_KEY_LONGEST = 63, /* bytes */
    LABEL_VALUE_LONGEST = 200
};

/* The two fields of a run, for its table (common/base/json.h). */
#define RUN_NAME_FIELDS                                                   \
    {.name = "name",                                                      \
     .kind = FIELD_STRING,                                                \
     .minimum = 1,                                                        \
     .maximum = RUN_NAME_LONGEST,                                         \
     .check = run_name_check},                                            \
    {                                                                     \
        .name = "labels", .kind = FIELD_OBJECT, .check = run_labels_check \
    }

/* Checks of the values, for that table: of the name's characters, and of whole labels.
 * BW_BAD_REQUEST. */
enum bw_code run_name_check(const json_t *value, const char *path, const void *context,
                            struct bw_error *error) BW_CHECKED;
enum bw_code run_labels_check(const json_t *value, const char *path, const void *context,
                              struct bw_error *error) BW_CHECKED;

/* Checks what a list asks for: KEY, or KEY=VALUE. The same codes. */
enum bw_code run_label_check(const json_t *value, const char *path, const void *context,
                             struct bw_error *error) BW_CHECKED;

/* The terms; each is a new text, free(). `course`: "" in the classic protocol. `label` is KEY or
 * KEY=VALUE. */
char *run_scope_term(const char *course);
char *run_assignment_term(const char *course, const char *assignment);
char *run_name_term(const char *course, const char *name);
char *run_label_term(const char *course, const char *label);

/* All terms of a run, as a list of strings. `assignment`, `name`: "" for none; `labels`: an object,
 * or NULL. New reference. */
json_t *run_terms(const char *course, const char *assignment, const char *name,
                  const json_t *labels);

#endif
