#include "common/base/json_scan.h"

#include <stdint.h>
#include <string.h>

/* What jansson 2.14 allocates on a 64-bit glibc, in its malloc's blocks, rounded up: see
 * tests/unit/test_json_scan.c, which measures it. Every string is counted as a value, though a key
 * costs less: its pair is in COST_PAIR. */
enum {
    COST_OBJECT = 240, /* the object, and its eight first buckets */
    COST_ARRAY = 144,  /* the list, and its first eight places */
    COST_STRING = 88,  /* without its bytes */
    COST_PAIR = 112,   /* a key without its bytes, and its share of buckets while they grow */
    COST_NUMBER = 32,
    COST_PLACE = 24 /* of a list's element, while the list grows */
};

/* A byte within a string. Each is counted once: in a key's pair or a value's text. */
static void scan_string_byte(struct json_scan *scan, char byte)
{
    scan->memory++;
    if (scan->is_escaped)
        scan->is_escaped = false;
    else if (byte == '\\')
        scan->is_escaped = true;
    else if (byte == '"')
        scan->in_string = false;
}

static void scan_value(struct json_scan *scan, size_t cost)
{
    scan->count++;
    scan->memory += cost + COST_PLACE;
}

static void scan_open(struct json_scan *scan, size_t cost)
{
    scan_value(scan, cost);
    if (++scan->depth > scan->deepest)
        scan->deepest = scan->depth;
}

static void scan_byte(struct json_scan *scan, char byte)
{
    bool was_word = scan->in_word;
    scan->in_word = false;
    switch (byte) {
    case '"':
        scan->in_string = true;
        scan_value(scan, COST_STRING);
        break;
    case '{':
        scan_open(scan, COST_OBJECT);
        break;
    case '[':
        scan_open(scan, COST_ARRAY);
        break;
    case '}':
    case ']':
        scan->depth -= scan->depth > 0;
        break;
    case ':':
        scan->memory += COST_PAIR;
        break;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
    case ',':
        break;
    default: /* a number, or true, false, null */
        scan->in_word = true;
        if (!was_word)
            scan_value(scan, COST_NUMBER);
    }
}

void json_scan_feed(struct json_scan *scan, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (scan->in_string)
            scan_string_byte(scan, text[i]);
        else
            scan_byte(scan, text[i]);
    }
}

/* The recursion is as deep as the value, whose depth json_parse limits. */
size_t json_value_memory(const json_t *value)
{
    const char *name;
    json_t *member;
    size_t index, size = 0;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        size = COST_OBJECT;
        json_object_foreach ((json_t *)(uintptr_t)value, name, member)
            size += COST_PAIR + strlen(name) + json_value_memory(member);
        return size;
    case JSON_ARRAY:
        size = COST_ARRAY;
        json_array_foreach (value, index, member)
            size += COST_PLACE + json_value_memory(member);
        return size;
    case JSON_STRING:
        return COST_STRING + json_string_length(value);
    default:
        return COST_NUMBER;
    }
}
