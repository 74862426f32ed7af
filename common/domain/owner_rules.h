/*
 * owner_rules: who is at fault that a job failed, by the rules of its assignment. A submission, or
 * a course's config, may have the key "owner_rules": a list, of which the first rule that fits the
 * failure decides. If none does, the owner follows from the kind of the job (owner_of_kind). Pure:
 * no I/O, no clock; safe from any thread.
 *
 * The facts of a failure are those of the last stage's report, as the reference grader sends it
 * (docs/grader.md, "What is reported"). A result of another form has only the kind of its job.
 */
#ifndef COMMON_DOMAIN_OWNER_RULES_H
#define COMMON_DOMAIN_OWNER_RULES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/json.h"
#include "common/domain/job.h"

enum { OWNER_RULES_MAX = 100 };

#define OWNER_RULES_KEY "owner_rules"

/* The keys of a rule. */
extern const struct json_field owner_rule_fields[];

/* How a job failed. */
struct failure {
    enum job_kind kind;
    bool has_report;                /* without it: nothing below is known */
    int64_t stage;                  /* the place of the stage in the job, from 0 */
    bool has_exit_code, has_signal; /* they are numbers */
    int64_t exit_code, signal;
    bool timed_out, oom_killed;
};

/* Reads the facts from what the grader reported; `result` is borrowed, and may have any form. */
void failure_read(const json_t *result, enum job_kind kind, struct failure *failure);

/* The owner of a failure by checked rules (NULL: there are none). *rule is the place of the rule
 * that decided, from 0; -1: none did. */
enum job_owner owner_rules_decide(const json_t *rules, const struct failure *failure, int *rule);

#endif
