/*
 * json_mend: a lenient parser for the JSON of results. A result must not be lost because of its
 * bytes, so input that strict JSON refuses is repaired where its meaning is clear. Each kind of
 * repair is counted for a note. Only for results: submissions and configs are parsed by json_parse,
 * which refuses such input.
 *
 * Repaired: bytes that are not UTF-8 and lone surrogates (U+FFFD), NUL (dropped), control
 * characters and unknown escapes in strings (kept, escaped), NaN and Infinity (null), integers
 * beyond 64 bits (rounded to floating point), numbers beyond a double (null), a duplicate key (the
 * last one counts), values nested too deep (a sentence in their place), too many values (cut, with
 * a sentence). Not repaired: text that is not JSON. Pure; safe from any thread. The same bytes give
 * the same value.
 */
#ifndef COMMON_BASE_JSON_MEND_H
#define COMMON_BASE_JSON_MEND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json.h"

/* The kinds of repairs, and their texts in a note, which follow the count. */
#define JSON_MEND_MAP(X)                                                   \
    X(BYTES, "bytes that are not UTF-8 replaced")                          \
    X(NULS, "NUL characters dropped")                                      \
    X(CONTROLS, "control characters escaped")                              \
    X(ESCAPES, "unknown escapes kept as text")                             \
    X(SURROGATES, "lone surrogates replaced")                              \
    X(CONSTANTS, "times NaN or Infinity replaced by null")                 \
    X(INTEGERS, "integers of more than 64 bits rounded to floating point") \
    X(NUMBERS, "numbers out of range replaced by null")                    \
    X(DEPTH, "values that are nested too deep replaced")                   \
    X(VALUES, "lists or objects with too many values cut")                 \
    X(KEYS, "times keys that stand twice: the last one counts")            \
    X(SIZE, "values cut to fit the limit")

enum json_mend {
#define JSON_MEND_ENUM(name, text) JSON_MEND_##name,
    JSON_MEND_MAP(JSON_MEND_ENUM)
#undef JSON_MEND_ENUM
        JSON_MEND_KINDS
};

struct json_mend_report {
    size_t counts[JSON_MEND_KINDS];
};

enum { JSON_MEND_MAX_VALUES = 200000, JSON_NOTE_SIZE = 512 };

struct json_mend_limits {
    /* How many levels belong to the message, not to the result: their members are not counted as
     * values, and the values of each member are counted separately. {"result": R}: 1. */
    unsigned envelope;
    size_t max_values; /* of each member; of all together, twice as many */
};

/* Parses one JSON value as json_parse_within does by `cost` (NULL: without limits); input that
 * json_parse_within refuses is repaired, and counted in *report (which is added to). On BW_OK
 * *value is a new reference. BW_BAD_REQUEST: it is no JSON; the sentence is json_parse's.
 * BW_INTERNAL: out of memory. BW_UNAVAILABLE: from `cost`, for the text or for the repaired text.
 */
enum bw_code json_parse_mended(const char *text, size_t length, const char *what,
                               const struct json_mend_limits *limits,
                               const struct json_limits *cost, json_t **value,
                               struct json_mend_report *report, struct bw_error *error) BW_CHECKED;

/* A text of a form or a query, as a JSON string: bytes that are not UTF-8 are replaced, NUL is
 * dropped. New reference; NULL: out of memory. */
json_t *json_string_mended(const char *text, size_t length, struct json_mend_report *report);

/* "mended: 2 NUL characters dropped, …"; "" without repairs. Returns note. */
const char *json_mend_note(const struct json_mend_report *report, char note[JSON_NOTE_SIZE]);

/* The string value of a member of the outermost object, read from the beginning of a text that need
 * not be complete or valid. It names the sender of a result that can't be parsed. `levels` above 0:
 * the member of an object within. Names and values must be ASCII, also in escapes. False: it was
 * not found, or does not fit. */
bool json_find_text(const char *text, size_t length, const char *name, unsigned levels, char *value,
                    size_t size);

/* The inside of a string of JSON, with its escapes resolved, into `plain`, which may be `text`
 * itself. False: it does not fit, or contains a NUL or an escape that stands for no ASCII. */
bool json_unescape_ascii(const char *text, size_t length, char *plain, size_t size);

#endif
