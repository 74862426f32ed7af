/*
 * json: parses and checks JSON from clients. All other modules use it.
 *
 * Parsing is bounded (size by the caller, depth here) and strict (UTF-8, no NUL, no duplicate key);
 * an error has a sentence. Schemas are tables of fields; json_check checks a value against such a
 * table and names the path of an error: "students[3].NETID: must be a string". No globals; safe
 * from any thread.
 */
#ifndef COMMON_BASE_JSON_H
#define COMMON_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { JSON_MAX_DEPTH = 32 };

/* Limits for parsing a text: see common/base/json_scan.h. */
struct json_limits {
    size_t count; /* keys and values */
    /* Reserves the memory before anything is parsed; its error is the parser's. NULL: no
     * reservation. */
    enum bw_code (*take)(void *context, size_t bytes, struct bw_error *error);
    void *context;
};

/* Parses `length` bytes as one JSON value of any type (trailing space allowed). On BW_OK *value is
 * a new reference. BW_BAD_REQUEST: not JSON, too deep, a duplicate key, a NUL, not UTF-8, a number
 * out of range. `what` names the text in the sentence, e.g. "json_payload" or "the body". */
enum bw_code json_parse(const char *text, size_t length, const char *what, json_t **value,
                        struct bw_error *error) BW_CHECKED;

/* The same for a text from an untrusted sender. BW_TOO_LARGE also: more keys and values than
 * `limits` allow (NULL: any number); and the errors of its `take`. */
enum bw_code json_parse_within(const char *text, size_t length, const char *what,
                               const struct json_limits *limits, json_t **value,
                               struct bw_error *error) BW_CHECKED;

enum json_kind {
    FIELD_STRING,  /* minimum..maximum bytes */
    FIELD_INTEGER, /* minimum..maximum */
    FIELD_NUMBER,  /* finite; minimum..maximum */
    FIELD_BOOLEAN,
    FIELD_STRING_LIST, /* at most maximum items */
    FIELD_OBJECT,      /* described by .fields (closed), or, if that is NULL, checked by .check */
    FIELD_LIST,        /* of values described by .fields (closed objects); at most maximum items */
    FIELD_ENV, /* object: names of environment variables → strings without NUL; at most maximum
                  entries */
    FIELD_ENV_LIST, /* list of such objects; at most maximum items */
    FIELD_ANY
};

struct json_field {
    const char *name;
    enum json_kind kind;
    bool is_required;
    double minimum, maximum;         /* meaning by kind; both 0: no limit */
    const struct json_field *fields; /* ends with a row whose name is NULL */
    /* additional check of a present value, may be NULL; `path` is its path; `context` is
     * json_check's */
    enum bw_code (*check)(const json_t *value, const char *path, const void *context,
                          struct bw_error *error);
};

/* Checks `object` against a table (ended by a NULL name): each required key is present, each key is
 * known, each value has its kind and is within its limits; null is refused except as FIELD_ANY.
 * `path` is the prefix for messages, "" at the top. A `value` that is not an object is an error.
 * BW_OK or BW_BAD_REQUEST. */
enum bw_code json_check(const json_t *value, const struct json_field *fields, const char *path,
                        const void *context, struct bw_error *error) BW_CHECKED;

/* Whether `name` is a name of an environment variable: [A-Za-z_][A-Za-z0-9_]*, at most 255 bytes.
 * For tests. */
bool is_env_name(const char *name);

/* Linux starts no program with an argument, or an environment entry NAME=value, that takes more
 * bytes than this, the NUL at its end included (MAX_ARG_STRLEN: 32 pages of 4 KiB). */
enum { EXEC_STRING_MAX = 128 * 1024 };

/* BW_BAD_REQUEST if NAME=value is too long for that. `path` is the path of the value. */
enum bw_code env_check_entry(const char *path, const char *name, size_t value_length,
                             struct bw_error *error) BW_CHECKED;

/* BW_BAD_REQUEST if the value is not a list. `path` is the path of the value. */
enum bw_code json_check_list(const json_t *value, const char *path, struct bw_error *error)
    BW_CHECKED;

/* "an object", "a list", "a string", ... for sentences. Static. */
const char *json_kind_of(const json_t *value);

/* Writes `text` into `shown` for a sentence or a log: at most size-1 bytes, control bytes as \xNN,
 * cut with "…". Returns shown. */
const char *text_show(const char *text, char *shown, size_t size);

/* An additional check of a text for a table: a date that date_parse (common/base/date.h) reads.
 * BW_BAD_REQUEST. */
enum bw_code json_check_date(const json_t *value, const char *path, const void *context,
                             struct bw_error *error) BW_CHECKED;

/* The date of a key that json_check_date has admitted, in milliseconds; `otherwise` if it is
 * absent. */
int64_t json_date(const json_t *object, const char *key, int64_t otherwise);

#endif
