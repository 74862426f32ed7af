#include "api/grading/student_filter.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/json_write.h"
#include "common/domain/job.h"

enum { SHOWN_SIZE = 80, INDEX_DIGITS = 9 };

static bool student_filter_is_index(const char *filter)
{
    size_t digits = strspn(filter, "0123456789");
    return digits > 0 && digits <= INDEX_DIGITS && filter[digits] == '\0';
}

enum bw_code student_filter_check(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error)
{
    const char *filter = json_string_value(value), *equals = strchr(filter, '=');
    char shown[SHOWN_SIZE];
    (void)context;
    if (student_filter_is_index(filter) || (equals != NULL && equals > filter))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: '%s' is neither the position of a student, from 0, nor a variable of the "
                   "student's environment, NAME=VALUE",
                   path, text_show(filter, shown, sizeof shown));
}

static bool has_value(const json_t *value, const char *wanted)
{
    if (value == NULL || json_is_string(value))
        return value != NULL && strcmp(json_string_value(value), wanted) == 0;
    char *text = json_write(value, JSON_COMPACT | JSON_ENCODE_ANY);
    bool is_equal = text != NULL && strcmp(text, wanted) == 0;
    free(text);
    return is_equal;
}

bool student_filter_admits(const char *filter, const json_t *env, uint32_t index)
{
    if (student_filter_is_index(filter))
        return strtoul(filter, NULL, 10) == index;
    char *name = bw_copy(filter), *value = strchr(name, '=');
    *value = '\0';
    bool is_wanted = has_value(json_object_get(env, name), value + 1);
    free(name);
    return is_wanted;
}
