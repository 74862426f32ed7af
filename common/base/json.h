/*
 * json: the one place where foreign JSON is read and checked.
 *
 * Parsing is bounded (size by the caller, depth here), strict (UTF-8, no NUL, no duplicate key) and
 * answers with a sentence. Shapes are declared as tables of fields; json_check walks a value along
 * such a table and names the path of what does not fit: "students[3].NETID: must be a string".
 * No globals; safe from any thread.
 */
#ifndef COMMON_BASE_JSON_H
#define COMMON_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum { JSON_MAX_DEPTH = 32 };

/* What a text may cost when it is parsed: see common/base/json_scan.h. */
struct json_limits {
    size_t count; /* keys and values */
    /* Asked for the memory before anything is parsed; its refusal is the parser's. NULL: not asked.
     */
    enum bw_code (*take)(void *context, size_t bytes, struct bw_error *error);
    void *context;
};

/* Parses `length` bytes as one JSON value of any type (trailing space allowed). On BW_OK *value is
 * a new reference. BW_BAD_REQUEST: not JSON, too deep, a duplicate key, a NUL, not UTF-8, a number
 * out of range. `what` names the text in the sentence, e.g. "json_payload" or "the body". */
enum bw_code json_parse(const char *text, size_t length, const char *what, json_t **value,
                        struct bw_error *error) BW_CHECKED;

/* The same of a text that may be a hostile one. BW_TOO_LARGE also: more keys and values than
 * `limits` allow (NULL: any number); and what its `take` says. */
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
    /* further check of a present value, may be NULL; `path` is where it stands; `context` is
     * json_check's */
    enum bw_code (*check)(const json_t *value, const char *path, const void *context,
                          struct bw_error *error);
};

/* Checks `object` against a table (ended by a NULL name): each required key there, each key known,
 * each value of its kind and within its limits; null is refused everywhere but as FIELD_ANY. `path`
 * is the prefix for messages, "" at the top. `value` need not be an object; if not, that is said.
 * BW_OK or BW_BAD_REQUEST. */
enum bw_code json_check(const json_t *value, const struct json_field *fields, const char *path,
                        const void *context, struct bw_error *error) BW_CHECKED;

/* Is `name` a name of an environment variable: [A-Za-z_][A-Za-z0-9_]*, at most 255 bytes? */
bool is_env_name(const char *name);

/* Linux starts no program with an argument, or an environment entry NAME=value, that takes more
 * bytes than this, the NUL at its end included (MAX_ARG_STRLEN: 32 pages of 4 KiB). */
enum { EXEC_STRING_MAX = 128 * 1024 };

/* BW_BAD_REQUEST if NAME=value is too long for that. `path` says where the value stands. */
enum bw_code env_check_entry(const char *path, const char *name, size_t value_length,
                             struct bw_error *error) BW_CHECKED;

/* "an object", "a list", "a string", ... for sentences. Static. */
const char *json_kind_of(const json_t *value);

/* Writes `text` into `shown` fit for a sentence or a log: at most size-1 bytes, control bytes as
 * \xNN, cut with "…". Returns shown. */
const char *text_show(const char *text, char *shown, size_t size);

#endif
