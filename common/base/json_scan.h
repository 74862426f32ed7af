/*
 * json_scan: an upper bound of the cost of a JSON text before it is parsed: its depth, its number
 * of keys and values, and jansson's memory for it. The scan reads the text once, part by part, and
 * keeps nothing of it. Invalid JSON is counted too, and never below what a parser reads of it
 * before it stops. Pure; safe from any thread.
 */
#ifndef COMMON_BASE_JSON_SCAN_H
#define COMMON_BASE_JSON_SCAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct json_scan {
    size_t count;   /* keys and values, containers included */
    size_t memory;  /* bytes */
    size_t deepest; /* levels of containers */
    /* state of the scan */
    size_t depth;
    bool in_string, is_escaped, in_word;
};

/* Scans the next part of the text. Initialize `scan` with zeros. */
void json_scan_feed(struct json_scan *scan, const char *text, size_t length);

/* An upper bound of the memory of a parsed value, in bytes, by the same costs. */
size_t json_value_memory(const json_t *value);

#endif
