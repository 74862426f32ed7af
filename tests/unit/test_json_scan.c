#include "common/base/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"

static struct json_scan scan_of(const char *text)
{
    struct json_scan scan = {.count = 0};
    json_scan_feed(&scan, text, strlen(text));
    return scan;
}

static void keys_and_values_are_counted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count, deepest;
    } cases[] = {
        {"", 0, 0},
        {" \t\r\n", 0, 0},
        {"1", 1, 0},
        {"-1.5e+3", 1, 0},
        {"true", 1, 0},
        {"\"\"", 1, 0},
        {"\"a\\\"b\"", 1, 0},
        {"\"a\\\\\"", 1, 0},
        {"\"{[1,2]}\"", 1, 0},
        {"{}", 1, 1},
        {"[]", 1, 1},
        {"[1, 2,3]", 4, 1},
        {"[null,false , true]", 4, 1},
        {"{\"a\": 1}", 3, 1},
        {"{\"a\":{\"b\":[{}]}}", 6, 4},
        {"[[],[],[[]]]", 5, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_scan scan = scan_of(cases[i].text);
        assert_int_equal(scan.count, cases[i].count);
        assert_int_equal(scan.deepest, cases[i].deepest);
    }
}

static void invalid_json_is_scanned_safely(void **state)
{
    (void)state;
    static const char *const texts[] = {"]]]]", "}{", "\"",       "\"\\", "{\"a",
                                        "\\",   ":",  "\x01\xff", ",,,"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_true(scan_of(texts[i]).depth <= 1);
}

static void scan_in_parts_equals_scan_of_the_whole(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\\"\":[1.5,\"b\\\\\",{}, true],\"c\":\"\\u00e9\"}";
    struct json_scan whole = scan_of(text);
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        struct json_scan parts = {.count = 0};
        json_scan_feed(&parts, text, cut);
        json_scan_feed(&parts, text + cut, strlen(text) - cut);
        assert_memory_equal(&parts, &whole, sizeof whole);
    }
}

/* ---- The memory that jansson really allocates ---- */

static size_t held, peak;

/* The size of glibc's block for `memory`: the usable bytes and the header, rounded up to 16. A
 * sanitizer's allocator reports the requested size, which gives the same result. */
static size_t chunk_bytes(void *memory)
{
    size_t chunk = (malloc_usable_size(memory) + sizeof(size_t) + 15) / 16 * 16;
    return chunk < 32 ? 32 : chunk;
}

static void *count_malloc(size_t size)
{
    char *memory = malloc(size);
    held += memory != NULL ? chunk_bytes(memory) : 0;
    peak = held > peak ? held : peak;
    return memory;
}

static void count_free(void *memory)
{
    if (memory != NULL)
        held -= chunk_bytes(memory);
    free(memory);
}

/* `open`, `count` times `item`, `close`, with commas; %zu in an item is its number. */
static char *build(const char *open, const char *item, const char *close, size_t count)
{
    size_t room = strlen(open) + strlen(close) + count * (strlen(item) + 24) + 1;
    char *text = malloc(room);
    size_t used = (size_t)snprintf(text, room, "%s", open);
    for (size_t i = 0; i < count; i++) {
        const char *place = strstr(item, "#");
        used += (size_t)snprintf(text + used, room - used, "%s", i > 0 ? "," : "");
        if (place == NULL)
            used += (size_t)snprintf(text + used, room - used, "%s", item);
        else
            used += (size_t)snprintf(text + used, room - used, "%.*s%zu%s", (int)(place - item),
                                     item, i, place + 1);
    }
    snprintf(text + used, room - used, "%s", close);
    return text;
}

static void memory_estimate_is_an_upper_bound_and_not_far_off(void **state)
{
    (void)state;
    static const struct {
        const char *open, *item, *close;
        size_t count;
        double most; /* highest allowed ratio of estimate to measurement */
    } cases[] = {
        {"[", "{}", "]", 100000, 1.5},
        {"[", "[]", "]", 100000, 1.5},
        {"[", "1", "]", 100000, 2},
        {"[", "1.5", "]", 100000, 2},
        {"[", "true", "]", 100000, 8},
        {"[", "\"\"", "]", 100000, 2},
        {"[", "\"some text of a few bytes\"", "]", 100000, 2},
        {"{", "\"#\":\"\"", "}", 100000, 3},
        {"{", "\"#\":{}", "}", 65537, 3},
        {"{", "\"#\":1", "}", 65535, 3},
        {"{\"worker_id\":[", "{}", "]}", 65537, 1.5},
        {"{\"students\":[", "{\"NETID\":\"net#\",\"A\":\"b\",\"B\":\"c\"}", "]}", 20000, 2},
        {"[", "[1,2,3,4,5,6,7,8,9]", "]", 20000, 2},
        {"[", "\"\\u00e9\\u00e9\\u00e9\\u00e9\"", "]", 10000, 2},
    };
    json_set_alloc_funcs(count_malloc, count_free);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = build(cases[i].open, cases[i].item, cases[i].close, cases[i].count);
        struct json_scan scan = scan_of(text);
        held = peak = 0;
        json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(value);
        if (scan.memory < peak || (double)scan.memory > cases[i].most * (double)peak)
            fail_msg("%s: estimated %zu, needed %zu", cases[i].item, scan.memory, peak);
        json_decref(value);
        free(text);
    }
    json_set_alloc_funcs(malloc, free);
}

/* For definitions in the replica's cache: the memory that they keep. */
static void memory_estimate_of_a_value_is_an_upper_bound_and_not_far_off(void **state)
{
    (void)state;
    static const struct {
        const char *open, *item, *close;
        size_t count;
        double most;
    } cases[] = {
        {"[", "{}", "]", 100000, 1.2},
        {"[", "[]", "]", 100000, 1.3},
        {"[", "1", "]", 100000, 1.6},
        {"[", "\"\"", "]", 100000, 1.6},
        {"[", "\"some text of a few bytes\"", "]", 100000, 1.6},
        {"{", "\"#\":{}", "}", 65537, 1.3},
        {"{\"students\":[", "{\"NETID\":\"net#\",\"A\":\"b\",\"B\":\"c\"}", "]}", 20000, 1.5},
        {"[", "[1,2,3,4,5,6,7,8,9]", "]", 20000, 1.7},
    };
    json_set_alloc_funcs(count_malloc, count_free);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = build(cases[i].open, cases[i].item, cases[i].close, cases[i].count);
        held = peak = 0;
        json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        size_t memory = json_value_memory(value);
        if (memory < held || (double)memory > cases[i].most * (double)held)
            fail_msg("%s: estimated %zu, held %zu", cases[i].item, memory, held);
        json_decref(value);
        free(text);
    }
    json_set_alloc_funcs(malloc, free);
}

/* ---- Limits ---- */

static size_t asked;

static enum bw_code take(void *context, size_t bytes, struct bw_error *error)
{
    asked = bytes;
    return *(bool *)context ? BW_OK : bw_fail(error, BW_UNAVAILABLE, "no room");
}

static void a_bomb_is_refused_before_it_is_parsed(void **state)
{
    (void)state;
    struct bw_error error;
    bool has_room = true;
    json_t *value = NULL;
    char *bomb = build("{\"worker_id\":[", "{}", "]}", 700000);
    struct json_limits limits = {.count = 64, .take = take, .context = &has_room};
    asked = 0;
    assert_int_equal(json_parse_within(bomb, strlen(bomb), "the body", &limits, &value, &error),
                     BW_TOO_LARGE);
    assert_string_equal(error.message, "the body has 700003 keys and values, the limit is 64");
    assert_int_equal(asked, 0);
    limits.count = 4000000;
    has_room = false;
    assert_int_equal(json_parse_within(bomb, strlen(bomb), "the body", &limits, &value, &error),
                     BW_UNAVAILABLE);
    assert_true(asked > 100 * 1024 * 1024);
    has_room = true;
    assert_int_equal(json_parse_within(bomb, strlen(bomb), "the body", &limits, &value, &error),
                     BW_OK);
    json_decref(value);
    free(bomb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values_are_counted),
        cmocka_unit_test(invalid_json_is_scanned_safely),
        cmocka_unit_test(scan_in_parts_equals_scan_of_the_whole),
        cmocka_unit_test(memory_estimate_is_an_upper_bound_and_not_far_off),
        cmocka_unit_test(memory_estimate_of_a_value_is_an_upper_bound_and_not_far_off),
        cmocka_unit_test(a_bomb_is_refused_before_it_is_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
