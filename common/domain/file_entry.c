#include "common/domain/file_entry.h"

#include <stdio.h>
#include <string.h>

#include "common/base/json.h"

enum { HEX_LENGTH = SHA256_TEXT_SIZE - 1, PREFIX_LENGTH = sizeof FILE_DIGEST_PREFIX - 1 };

/* ---- Digests ---- */

bool file_digest_parse(const char *text, char hex[SHA256_TEXT_SIZE])
{
    if (strncmp(text, FILE_DIGEST_PREFIX, PREFIX_LENGTH) != 0 ||
        strlen(text + PREFIX_LENGTH) != HEX_LENGTH ||
        strspn(text + PREFIX_LENGTH, "0123456789abcdef") != HEX_LENGTH)
        return false;
    memcpy(hex, text + PREFIX_LENGTH, SHA256_TEXT_SIZE);
    return true;
}

const char *file_digest_format(const char *hex, char text[FILE_DIGEST_SIZE])
{
    snprintf(text, FILE_DIGEST_SIZE, FILE_DIGEST_PREFIX "%s", hex);
    return text;
}

enum bw_code file_digest_check(const json_t *value, const char *path, const void *context,
                               struct bw_error *error)
{
    char hex[SHA256_TEXT_SIZE];
    (void)context;
    if (file_digest_parse(json_string_value(value), hex))
        return BW_OK;
    return bw_fail(
        error, BW_BAD_REQUEST,
        "%s: must be sha256: and 64 hex digits in lower case, like sha256sum prints them", path);
}

/* ---- Paths ---- */

static enum bw_code refuse_path(const char *path, const char *at, const char *reason,
                                struct bw_error *error)
{
    char shown[128];
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' %s", at, text_show(path, shown, sizeof shown),
                   reason);
}

static bool file_path_has_control(const char *path)
{
    for (const unsigned char *byte = (const unsigned char *)path; *byte != '\0'; byte++)
        if (*byte < 0x20 || *byte == 0x7F)
            return true;
    return false;
}

/* Whether the segment of `length` bytes may not be in a path. */
static bool is_forbidden_segment(const char *segment, size_t length)
{
    return length == 0 || (length == 1 && segment[0] == '.') ||
           (length == 2 && segment[0] == '.' && segment[1] == '.');
}

enum bw_code file_path_check(const char *path, const char *at, struct bw_error *error)
{
    if (strlen(path) > FILE_PATH_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at most %d bytes, not %zu", at,
                       (int)FILE_PATH_MAX, strlen(path));
    if (path[0] == '/')
        return refuse_path(path, at, "must be a relative path", error);
    if (file_path_has_control(path))
        return refuse_path(path, at, "must not contain control characters", error);
    for (const char *segment = path;; segment++) {
        size_t length = strcspn(segment, "/");
        if (is_forbidden_segment(segment, length))
            return refuse_path(path, at, "must have no empty, . or .. segment", error);
        segment += length;
        if (*segment == '\0')
            return BW_OK;
    }
}

/* ---- Entries ---- */

static enum bw_code check_path(const json_t *value, const char *path, const void *context,
                               struct bw_error *error)
{
    (void)context;
    return file_path_check(json_string_value(value), path, error);
}

static const struct json_field entry_fields[] = {
    {.name = "path", .kind = FIELD_STRING, .is_required = true, .check = check_path},
    {.name = "digest", .kind = FIELD_STRING, .is_required = true, .check = file_digest_check},
    {.name = "unpack", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

bool file_entry_load(const json_t *value, struct file_entry *entry)
{
    const char *path = json_string_value(json_object_get(value, "path")),
               *digest = json_string_value(json_object_get(value, "digest"));
    struct file_entry read = {.path = path};
    if (path == NULL || digest == NULL || !file_digest_parse(digest, read.hex))
        return false;
    read.is_unpacked = json_is_true(json_object_get(value, "unpack"));
    *entry = read;
    return true;
}

enum bw_code file_entry_read(const json_t *value, const char *at, struct file_entry *entry,
                             struct bw_error *error)
{
    enum bw_code code = json_check(value, entry_fields, at, NULL, error);
    if (code == BW_OK && !file_entry_load(value, entry))
        code = bw_fail(error, BW_BAD_REQUEST, "%s: must name a file", at);
    return code;
}
