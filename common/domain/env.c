#include "common/domain/env.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"

enum { SHOWN_SIZE = 80 };

const char *env_reference(const char *name, const char *value)
{
    if (value[0] == '\0')
        return name;
    return value[0] == '$' ? value + 1 : NULL;
}

/* The value of `name` in the run's env, else in the student's, else NULL. */
static const char *env_lookup(const char *name, const json_t *run, const json_t *student)
{
    const json_t *value = run != NULL ? json_object_get(run, name) : NULL;
    if (value == NULL && student != NULL)
        value = json_object_get(student, name);
    return json_string_value(value);
}

static bool append_pair(json_t *list, const char *name, const char *value)
{
    return json_array_append_new(list, json_sprintf("%s=%s", name, value)) == 0;
}

static bool append_literals(json_t *list, const json_t *env)
{
    const char *name;
    json_t *value;
    if (env != NULL)
        json_object_foreach ((json_t *)(uintptr_t)env, name, value)
            if (!append_pair(list, name, json_string_value(value)))
                return false;
    return true;
}

static enum bw_code env_refuse_reference(const char *where, const char *name, const char *referred,
                                         bool has_student, struct bw_error *error)
{
    char shown_name[SHOWN_SIZE], shown_referred[SHOWN_SIZE];
    return bw_fail(error, BW_BAD_REQUEST, "%s: %s refers to '%s', which %s", where,
                   text_show(name, shown_name, sizeof shown_name),
                   text_show(referred, shown_referred, sizeof shown_referred),
                   has_student ? "neither the run's nor the student's env has"
                               : "the run's env doesn't have");
}

enum bw_code env_resolve(const json_t *stage, const json_t *run, const json_t *student,
                         const char *where, struct bw_error *error)
{
    const char *name;
    json_t *value;
    if (stage == NULL)
        return BW_OK;
    json_object_foreach ((json_t *)(uintptr_t)stage, name, value) {
        const char *referred = env_reference(name, json_string_value(value));
        if (referred != NULL && env_lookup(referred, run, student) == NULL)
            return env_refuse_reference(where, name, referred, student != NULL, error);
    }
    return BW_OK;
}

enum bw_code env_expand(const json_t *stage, const json_t *run, const json_t *student,
                        const char *where, json_t **list, struct bw_error *error)
{
    const char *name;
    json_t *value;
    enum bw_code code = env_resolve(stage, run, student, where, error);
    if (code != BW_OK)
        return code;
    json_t *expanded = json_array();
    bool ok = append_literals(expanded, run) && append_literals(expanded, student);
    if (stage != NULL)
        json_object_foreach ((json_t *)(uintptr_t)stage, name, value) {
            const char *text = json_string_value(value), *referred = env_reference(name, text);
            ok = ok && append_pair(expanded, name,
                                   referred != NULL ? env_lookup(referred, run, student) : text);
        }
    if (!ok) {
        json_decref(expanded);
        return bw_fail(error, BW_INTERNAL, "%s: there is no memory for the environment", where);
    }
    *list = expanded;
    return BW_OK;
}

json_t *env_object(const json_t *list)
{
    size_t index;
    json_t *pair, *object = json_object();
    json_array_foreach (list, index, pair) {
        const char *text = json_string_value(pair), *equals = strchr(text, '=');
        char *name = bw_format("%.*s", (int)(equals - text), text);
        if (json_object_set_new(object, name, json_string(equals + 1)) != 0) {
            free(name);
            json_decref(object);
            return NULL;
        }
        free(name);
    }
    return object;
}
