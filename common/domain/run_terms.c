#include "common/domain/run_terms.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"

enum { SHOWN_SIZE = 80, PATH_SIZE = 128 };

/* ---- Checks ---- */

static bool has_control_character(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
        if (*at < 0x20 || *at == 0x7F)
            return true;
    return false;
}

enum bw_code run_name_check(const json_t *value, const char *path, const void *context,
                            struct bw_error *error)
{
    (void)context;
    if (has_control_character(json_string_value(value)))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}

/* Checks the first `length` bytes of `key`. */
static enum bw_code check_label_key(const char *key, size_t length, const char *path,
                                    struct bw_error *error)
{
    static const char letters[] =
        "-_./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char shown[SHOWN_SIZE];
    if (length > 0 && length <= LABEL_KEY_LONGEST && strspn(key, letters) >= length)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: '%s' can't be the key of a label: it must have 1 to %d letters, digits, "
                   "'-', '_', '.' and '/'",
                   path, text_show(key, shown, sizeof shown), (int)LABEL_KEY_LONGEST);
}

static enum bw_code check_label_value(const char *value, const char *path, struct bw_error *error)
{
    if (strlen(value) > LABEL_VALUE_LONGEST)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be at most %d bytes long, not %zu", path,
                       (int)LABEL_VALUE_LONGEST, strlen(value));
    if (has_control_character(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}

enum bw_code run_labels_check(const json_t *value, const char *path, const void *context,
                              struct bw_error *error)
{
    const char *key;
    json_t *item;
    (void)context;
    if (json_object_size(value) > LABELS_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d labels, not %zu", path,
                       (int)LABELS_MAX, json_object_size(value));
    json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
        char at[PATH_SIZE];
        enum bw_code code = check_label_key(key, strlen(key), path, error);
        if (code != BW_OK)
            return code;
        snprintf(at, sizeof at, "%s.%s", path, key);
        if (!json_is_string(item))
            return bw_fail(error, BW_BAD_REQUEST, "%s: must be a string, not %s", at,
                           json_kind_of(item));
        code = check_label_value(json_string_value(item), at, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

enum bw_code run_label_check(const json_t *value, const char *path, const void *context,
                             struct bw_error *error)
{
    const char *label = json_string_value(value);
    size_t length = strcspn(label, "=");
    (void)context;
    enum bw_code code = check_label_key(label, length, path, error);
    if (code == BW_OK && label[length] == '=')
        code = check_label_value(label + length + 1, path, error);
    return code;
}

/* ---- Terms ---- */

/* No course, key or scope has a blank in it, so that equal terms mean the same. */
char *run_scope_term(const char *course)
{
    return course[0] == '\0' ? bw_copy("classic") : bw_format("course/%s", course);
}

static char *run_scoped_term(const char *course, const char *kind, const char *text)
{
    char *scope = run_scope_term(course);
    char *term = bw_format("%s %s %s", scope, kind, text);
    free(scope);
    return term;
}

char *run_assignment_term(const char *course, const char *assignment)
{
    return run_scoped_term(course, "assignment", assignment);
}

char *run_name_term(const char *course, const char *name)
{
    return run_scoped_term(course, "name", name);
}

char *run_label_term(const char *course, const char *label)
{
    return run_scoped_term(course, "label", label);
}

/* Adds a term, and frees it. */
static void add_term(json_t *terms, char *term)
{
    json_array_append_new(terms, json_string(term));
    free(term);
}

json_t *run_terms(const char *course, const char *assignment, const char *name,
                  const json_t *labels)
{
    json_t *terms = json_array(), *value;
    const char *key;
    add_term(terms, run_scope_term(course));
    if (assignment[0] != '\0')
        add_term(terms, run_assignment_term(course, assignment));
    if (name[0] != '\0')
        add_term(terms, run_name_term(course, name));
    json_object_foreach ((json_t *)(uintptr_t)labels, key, value) {
        char *label = bw_format("%s=%s", key, json_string_value(value));
        add_term(terms, run_label_term(course, key));
        add_term(terms, run_label_term(course, label));
        free(label);
    }
    return terms;
}
