#include "common/domain/worker_tags.h"

#include <string.h>

#define TAG_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

enum bw_code worker_tag_check(const char *tag, size_t length, const char *path,
                              struct bw_error *error)
{
    if (length == 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: has an empty name", path);
    if (length > WORKER_TAG_LONGEST)
        return bw_fail(error, BW_BAD_REQUEST, "%s: each name may have %d characters at most", path,
                       WORKER_TAG_LONGEST);
    if (strspn(tag, TAG_CHARACTERS) < length)
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s: names consist of letters, digits, '.', '_' and '-'", path);
    return BW_OK;
}

enum bw_code worker_tags_check(const json_t *value, const char *path, const void *context,
                               struct bw_error *error)
{
    const char *tag = json_string_value(value);
    (void)context;
    if (json_string_length(value) >= WORKER_TAGS_SIZE)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have %d bytes at most", path,
                       WORKER_TAGS_SIZE - 1);
    if (strlen(tag) != json_string_length(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain NUL", path);
    for (size_t count = 1; *tag != '\0'; count++) {
        size_t length = strcspn(tag, ",");
        enum bw_code code = worker_tag_check(tag, length, path, error);
        if (code != BW_OK)
            return code;
        if (count > WORKER_TAGS)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must have %d names at most", path,
                           WORKER_TAGS);
        if (tag[length] == ',' && tag[length + 1] == '\0')
            return bw_fail(error, BW_BAD_REQUEST, "%s: has an empty name", path);
        tag += length + (tag[length] == ',');
    }
    return BW_OK;
}

json_t *worker_tags_list(const char *tags)
{
    json_t *list = json_array();
    while (*tags != '\0') {
        size_t length = strcspn(tags, ",");
        json_array_append_new(list, json_stringn(tags, length));
        tags += length + (tags[length] == ',');
    }
    return list;
}
