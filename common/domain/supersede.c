#include "common/domain/supersede.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/secret.h"

#define KEY "supersede_key"
#define KEYS "supersede_keys"
#define SHARE "supersede_share"

enum { AT_SIZE = 64 };

enum bw_code supersede_check_key(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    (void)context;
    for (const unsigned char *at = (const unsigned char *)json_string_value(value); *at != '\0';
         at++)
        if (*at < 0x20 || *at == 0x7F)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}

/* A key of the list. */
static enum bw_code supersede_check_item(const json_t *value, const char *path,
                                         struct bw_error *error)
{
    size_t length = json_string_length(value);
    if (json_is_null(value))
        return BW_OK;
    if (!json_is_string(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a string or null, not %s", path,
                       json_kind_of(value));
    if (length == 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not be empty", path);
    if (length > SUPERSEDE_KEY_LONGEST)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be at most %d bytes long, not %zu", path,
                       (int)SUPERSEDE_KEY_LONGEST, length);
    if (strlen(json_string_value(value)) != length)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return supersede_check_key(value, path, NULL, error);
}

enum bw_code supersede_check_keys(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error)
{
    size_t index;
    json_t *item;
    (void)context;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, item) {
        char at[AT_SIZE];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = supersede_check_item(item, at, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

/* ---- The fields together ---- */

/* Two students of a run have different keys: neither of them is the newer one. */
static enum bw_code supersede_check_distinct(const json_t *keys, struct bw_error *error)
{
    size_t index;
    json_t *item;
    json_auto_t *seen = json_object();
    json_array_foreach (keys, index, item) {
        const json_t *first = json_object_get(seen, json_string_value(item));
        if (!json_is_string(item))
            continue;
        if (first != NULL)
            return bw_fail(error, BW_BAD_REQUEST,
                           KEYS "[%zu]: students[%lld] of the same run has this key as well", index,
                           (long long)json_integer_value(first));
        json_object_set_new(seen, json_string_value(item), json_integer((json_int_t)index));
    }
    return BW_OK;
}

static enum bw_code supersede_check_list(const json_t *keys, size_t students,
                                         struct bw_error *error)
{
    if (json_array_size(keys) != students)
        return bw_fail(error, BW_BAD_REQUEST,
                       KEYS ": must have a key or null for each of the %zu students, not %zu items",
                       students, json_array_size(keys));
    if (students > SUPERSEDE_STUDENTS_MAX)
        return bw_fail(error, BW_BAD_REQUEST,
                       KEYS ": a run with keys has at most %d students, not %zu",
                       (int)SUPERSEDE_STUDENTS_MAX, students);
    return supersede_check_distinct(keys, error);
}

enum bw_code supersede_check_run(const json_t *object, size_t students, struct bw_error *error)
{
    const json_t *key = json_object_get(object, KEY), *keys = json_object_get(object, KEYS);
    if (key != NULL && keys != NULL)
        return bw_fail(error, BW_BAD_REQUEST, "'" KEY "' and '" KEYS "' exclude each other");
    if (key == NULL && keys == NULL && json_object_get(object, SHARE) != NULL)
        return bw_fail(error, BW_BAD_REQUEST, SHARE ": the run has no '" KEY "' and no '" KEYS "'");
    if (key != NULL && students != 1)
        return bw_fail(error, BW_BAD_REQUEST,
                       KEY ": is for a run of exactly one student, not %zu; '" KEYS
                           "' has a key for each",
                       students);
    return keys != NULL ? supersede_check_list(keys, students, error) : BW_OK;
}

/* ---- Digests ---- */

static void supersede_digest(const char *course, const char *assignment, const json_t *key,
                             uint8_t *digest)
{
    unsigned char bytes[SHA256_BYTES];
    const struct digest_part parts[] = {{course, strlen(course)},
                                        {assignment, strlen(assignment)},
                                        {json_string_value(key), json_string_length(key)}};
    secret_digest_bytes(parts, sizeof parts / sizeof *parts, bytes);
    memcpy(digest, bytes, SUPERSEDE_DIGEST_BYTES);
}

uint8_t *supersede_digests(const json_t *object, size_t students, const char *course,
                           const char *assignment)
{
    const json_t *key = json_object_get(object, KEY), *keys = json_object_get(object, KEYS);
    uint8_t *digests = NULL;
    for (size_t i = 0; i < students; i++) {
        const json_t *own = key != NULL ? key : json_array_get(keys, i);
        if (!json_is_string(own))
            continue;
        if (digests == NULL)
            digests = bw_alloc_array(students, SUPERSEDE_DIGEST_BYTES);
        supersede_digest(course, assignment, own, digests + i * SUPERSEDE_DIGEST_BYTES);
    }
    return digests;
}

double supersede_share(const json_t *object)
{
    const json_t *share = json_object_get(object, SHARE);
    return share != NULL ? json_number_value(share) : SUPERSEDE_SHARE_DEFAULT;
}

void supersede_remove(json_t *object)
{
    json_object_del(object, KEY);
    json_object_del(object, KEYS);
    json_object_del(object, SHARE);
}
