/*
 * json_mend: JSON as graders really send it. A result must not be lost because of its bytes, so
 * what strict JSON refuses is mended where the meaning is clear, and each kind of change is
 * counted, so that a note can say what was done. For results alone: submissions and configs are
 * read by json_parse, which refuses.
 *
 * Mended: bytes that are not UTF-8 and lone surrogates (U+FFFD), NUL (dropped), control characters
 * and unknown escapes in strings (kept, escaped), NaN and Infinity (null), integers beyond 64 bits
 * (rounded to floating point), numbers beyond a double (null), a key that stands twice (the last
 * one counts), what is nested too deep (a sentence in its place), what has too many values (cut,
 * with a sentence). Not mended: what is no JSON. Pure; safe from any thread. The same bytes give
 * the same value.
 */
#ifndef COMMON_BASE_JSON_MEND_H
#define COMMON_BASE_JSON_MEND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json.h"

/* What can be mended, and how a note tells of it, behind how often. */
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
    /* How many levels are the message's own, not the result's: their members are not counted as
     * values, and each is counted for itself. {"result": R}: 1. */
    unsigned envelope;
    size_t max_values; /* of each member; of all together, twice as many */
};

/* Parses one JSON value as json_parse_within does by `cost` (NULL: without limits); what that
 * refuses is mended, and counted in *report (which is added to). On BW_OK *value is a new
 * reference. BW_BAD_REQUEST: it is no JSON; the sentence is json_parse's. BW_INTERNAL: memory is
 * short. BW_UNAVAILABLE: as `cost` says, of the text or of what it was mended to. */
enum bw_code json_parse_mended(const char *text, size_t length, const char *what,
                               const struct json_mend_limits *limits,
                               const struct json_limits *cost, json_t **value,
                               struct json_mend_report *report, struct bw_error *error) BW_CHECKED;

/* A text of a form or a query, as a JSON string: bytes that are not UTF-8 are replaced, NUL is
 * dropped. New reference; NULL if memory is short. */
json_t *json_string_mended(const char *text, size_t length, struct json_mend_report *report);

/* "mended: 2 NUL characters dropped, …"; "" if nothing was. Returns note. */
const char *json_mend_note(const struct json_mend_report *report, char note[JSON_NOTE_SIZE]);

/* The string that a member of the outermost object has, read from the beginning of a text that need
 * not be whole or valid: whose result is it, if it can't be read? `levels` above 0: the member of
 * an object within. Only strings without escapes count. False: it was not found, or does not fit.
 */
bool json_find_text(const char *text, size_t length, const char *name, unsigned levels, char *value,
                    size_t size);

#endif
