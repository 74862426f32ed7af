#include "common/domain/owner_rules.h"

#include <string.h>

#include "common/domain/failure_signature.h"

enum { STAGE_LAST = 99, EXIT_CODE_MAX = 255, SIGNAL_MAX = 64, SHOWN_SIZE = 80 };

/* ---- The form of a rule ---- */

/* As "kind" of the endpoints of jobs names them. */
static const char *const owner_rule_kinds[] = {
    [JOB_PRE] = "preprocessing", [JOB_STUDENT] = "student", [JOB_POST] = "postprocessing"};

static enum bw_code owner_rule_check_kind(const json_t *value, const char *path,
                                          const void *context, struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    (void)context;
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++)
        if (strcmp(json_string_value(value), owner_rule_kinds[kind]) == 0)
            return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: '%s' is not one of preprocessing, student, postprocessing", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

static enum bw_code owner_rule_check_owner(const json_t *value, const char *path,
                                           const void *context, struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    enum job_owner owner = owner_parse(json_string_value(value));
    (void)context;
    if (owner == OWNER_STUDENT || owner == OWNER_COURSE || owner == OWNER_INFRASTRUCTURE)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of student, course, infrastructure",
                   path, text_show(json_string_value(value), shown, sizeof shown));
}

static bool owner_rule_is_exit_code(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) <= EXIT_CODE_MAX;
}

/* A number, or [first, last]. */
static enum bw_code owner_rule_check_exit_code(const json_t *value, const char *path,
                                               const void *context, struct bw_error *error)
{
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    (void)context;
    if (owner_rule_is_exit_code(value) ||
        (json_array_size(value) == 2 && owner_rule_is_exit_code(first) &&
         owner_rule_is_exit_code(last) && json_integer_value(first) <= json_integer_value(last)))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: must be an integer from 0 to %d, or a list of two, the first and the last",
                   path, (int)EXIT_CODE_MAX);
}

const struct json_field owner_rule_fields[] = {
    {.name = "kind", .kind = FIELD_STRING, .check = owner_rule_check_kind},
    {.name = "stage", .kind = FIELD_INTEGER, .minimum = 0, .maximum = STAGE_LAST},
    {.name = "exit_code", .kind = FIELD_ANY, .check = owner_rule_check_exit_code},
    {.name = "signal", .kind = FIELD_INTEGER, .minimum = 1, .maximum = SIGNAL_MAX},
    {.name = "timed_out", .kind = FIELD_BOOLEAN},
    {.name = "oom_killed", .kind = FIELD_BOOLEAN},
    {.name = "owner", .kind = FIELD_STRING, .is_required = true, .check = owner_rule_check_owner},
    {.name = NULL},
};

/* ---- A failure ---- */

/* False: it is not there, or no integer. */
static bool failure_read_number(const json_t *report, const char *name, int64_t *number)
{
    const json_t *value = json_object_get(report, name);
    *number = json_integer_value(value);
    return json_is_integer(value);
}

void failure_read(const json_t *result, enum job_kind kind, struct failure *failure)
{
    size_t place;
    const json_t *report = failure_signature_report(result, &place);
    *failure = (struct failure){.kind = kind, .has_report = report != NULL};
    if (report == NULL)
        return;
    failure->stage = (int64_t)place - 1;
    failure->has_exit_code = failure_read_number(report, "exit_code", &failure->exit_code);
    failure->has_signal = failure_read_number(report, "signal", &failure->signal);
    failure->timed_out = json_is_true(json_object_get(report, "timed_out"));
    failure->oom_killed = json_is_true(json_object_get(report, "oom_killed"));
}

/* ---- The decision ---- */

static bool owner_rule_fits_exit_code(const json_t *wanted, const struct failure *failure)
{
    if (wanted == NULL)
        return true;
    const json_t *first = json_is_array(wanted) ? json_array_get(wanted, 0) : wanted,
                 *last = json_is_array(wanted) ? json_array_get(wanted, 1) : wanted;
    return failure->has_exit_code && failure->exit_code >= json_integer_value(first) &&
           failure->exit_code <= json_integer_value(last);
}

static bool owner_rule_fits_flag(const json_t *wanted, const struct failure *failure, bool is_true)
{
    return wanted == NULL || (failure->has_report && json_is_true(wanted) == is_true);
}

static bool owner_rule_fits(const json_t *rule, const struct failure *failure)
{
    const char *kind = json_string_value(json_object_get(rule, "kind"));
    const json_t *stage = json_object_get(rule, "stage"), *signal = json_object_get(rule, "signal");
    if (kind != NULL && strcmp(kind, owner_rule_kinds[failure->kind]) != 0)
        return false;
    if (stage != NULL && !(failure->has_report && failure->stage == json_integer_value(stage)))
        return false;
    if (signal != NULL && !(failure->has_signal && failure->signal == json_integer_value(signal)))
        return false;
    return owner_rule_fits_exit_code(json_object_get(rule, "exit_code"), failure) &&
           owner_rule_fits_flag(json_object_get(rule, "timed_out"), failure, failure->timed_out) &&
           owner_rule_fits_flag(json_object_get(rule, "oom_killed"), failure, failure->oom_killed);
}

enum job_owner owner_rules_decide(const json_t *rules, const struct failure *failure, int *rule)
{
    size_t index;
    const json_t *each;
    json_array_foreach (rules, index, each)
        if (owner_rule_fits(each, failure)) {
            *rule = (int)index;
            return owner_parse(json_string_value(json_object_get(each, "owner")));
        }
    *rule = -1;
    return owner_of_kind(failure->kind);
}
