/*
 * json_scan: what a JSON text will cost before it is parsed: how deep it nests, how many keys and
 * values it has, and how much memory jansson makes of it, at most. It looks at the text once, part
 * by part, and keeps nothing of it. What is no JSON is counted all the same, and never counted
 * lower than what a parser reads of it before it stops. Pure; safe from any thread.
 */
#ifndef COMMON_BASE_JSON_SCAN_H
#define COMMON_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct json_scan {
    size_t count;   /* keys and values, containers included */
    size_t memory;  /* bytes */
    size_t deepest; /* levels of containers */
    /* where it is */
    size_t depth;
    bool in_string, is_escaped, in_word;
};

/* Goes on with the next part of the text. `scan` begins as all zero. */
void json_scan_feed(struct json_scan *scan, const char *text, size_t length);

#endif
