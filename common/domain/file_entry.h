/*
 * file_entry: how JSON and URLs name files: the digest text, the path, and one entry of a list of
 * files:
 *
 *     {"path": "tests/run.sh", "digest": "sha256:<64 lower-case hex digits>", "unpack": true}
 *
 * common/domain/file_list.h checks whole lists. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_FILE_ENTRY_H
#define COMMON_DOMAIN_FILE_ENTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/secret.h"

#define FILE_DIGEST_PREFIX "sha256:"

enum {
    FILE_DIGEST_SIZE = sizeof FILE_DIGEST_PREFIX - 1 + SHA256_TEXT_SIZE,
    FILE_PATH_MAX = 1024,   /* bytes of a path */
    FILE_ENTRIES_MAX = 1000 /* entries of a job, and of a result */
};

/* Reads a digest's text; `hex` gets its 64 digits. False, and nothing written: it is not one. */
bool file_digest_parse(const char *text, char hex[SHA256_TEXT_SIZE]) BW_CHECKED;

/* Writes the text of the digest `hex` (64 digits), and returns it. */
const char *file_digest_format(const char *hex, char text[FILE_DIGEST_SIZE]);

/* The same as a check of a JSON string, for tables of fields (common/base/json.h). */
enum bw_code file_digest_check(const json_t *value, const char *path, const void *context,
                               struct bw_error *error) BW_CHECKED;

/* Checks that `path` is relative, without empty, "." or ".." segments and control characters, and
 * at most FILE_PATH_MAX bytes long. `at` names the value in the sentence ("files[3].path").
 * BW_BAD_REQUEST. */
enum bw_code file_path_check(const char *path, const char *at, struct bw_error *error) BW_CHECKED;

/* An entry. */
struct file_entry {
    const char *path; /* borrowed from the JSON value */
    char hex[SHA256_TEXT_SIZE];
    bool is_unpacked; /* the file is a tar archive, and `path` the directory for its content */
};

/* Checks an entry of a submission or a result: its members, its path and its digest. `at` is its
 * path for the sentence ("files[3]"). BW_BAD_REQUEST; *entry is written only on BW_OK. */
enum bw_code file_entry_read(const json_t *value, const char *at, struct file_entry *entry,
                             struct bw_error *error) BW_CHECKED;

/* The same of a stored entry, which may have other members. False: it is not one. */
bool file_entry_load(const json_t *value, struct file_entry *entry) BW_CHECKED;

#endif
