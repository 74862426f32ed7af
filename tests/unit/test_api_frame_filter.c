#include "api/websocket/frame_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { LIMIT = 1000, ROOM = 8000 };

static uint8_t bytes[ROOM];
static size_t used;

/* Adds a masked frame whose payload is `begin`, filled up with 'x' to `length` bytes. Only `sent`
 * bytes of the payload are added. */
static void add_frame(uint8_t first, const char *begin, size_t length, size_t sent)
{
    static const uint8_t mask[] = {1, 2, 3, 4};
    bytes[used++] = first;
    if (length < 126) {
        bytes[used++] = (uint8_t)(0x80 | length);
    } else {
        bytes[used++] = 0x80 | 126;
        bytes[used++] = (uint8_t)(length >> 8);
        bytes[used++] = (uint8_t)length;
    }
    memcpy(bytes + used, mask, 4);
    used += 4;
    for (size_t i = 0; i < sent; i++)
        bytes[used++] = (uint8_t)((i < strlen(begin) ? begin[i] : 'x') ^ mask[i % 4]);
}

/* Feeds all bytes, `step` at a time. `passed` receives what the filter passes on to the library. */
static size_t feed(struct frame_filter *filter, size_t step, uint8_t passed[ROOM])
{
    size_t count = 0;
    memset(filter, 0, sizeof *filter);
    for (size_t at = 0; at < used; at += step) {
        uint8_t piece[ROOM];
        size_t length = used - at < step ? used - at : step;
        memcpy(piece, bytes + at, length);
        size_t taken = frame_filter_feed(filter, piece, length, LIMIT);
        memcpy(passed + count, piece, taken);
        count += taken;
    }
    return count;
}

static void text_becomes_binary_and_nothing_else_changes(void **state)
{
    (void)state;
    struct frame_filter filter;
    uint8_t passed[ROOM];
    used = 0;
    add_frame(0x81, "\x81\x81\x81", 3, 3); /* a payload that looks like frame heads */
    size_t second = used;
    add_frame(0x01, "a", 200, 200); /* text in fragments, with a ping between */
    add_frame(0x89, "", 0, 0);
    add_frame(0x80, "b", 5, 5);
    add_frame(0x82, "c", 1, 1);
    add_frame(0x88, "", 2, 2);
    for (size_t step = 1; step < 30; step++) {
        assert_int_equal(feed(&filter, step, passed), used);
        assert_int_equal(passed[0], 0x82);
        assert_int_equal(passed[second], 0x02);
        assert_memory_equal(passed + 1, bytes + 1, second - 1);
        assert_memory_equal(passed + second + 1, bytes + second + 1, used - second - 1);
        assert_false(filter.is_oversized);
        frame_filter_clear(&filter);
    }
}

static void a_message_at_the_limit_passes(void **state)
{
    (void)state;
    struct frame_filter filter;
    uint8_t passed[ROOM];
    used = 0;
    add_frame(0x81, "", LIMIT, LIMIT);
    add_frame(0x81, "", LIMIT, LIMIT);
    assert_int_equal(feed(&filter, 7, passed), used);
    assert_false(filter.is_oversized);
}

static void too_large_message_never_reaches_the_library(void **state)
{
    (void)state;
    struct frame_filter filter;
    uint8_t passed[ROOM];
    used = 0;
    add_frame(0x81, "a", 1, 1);
    size_t before = used;
    add_frame(0x81, "{\"type\": \"job_result\"", LIMIT + 1, LIMIT + 1);
    add_frame(0x88, "", 2, 2);
    for (size_t step = 1; step < 50; step++) {
        size_t count = feed(&filter, step, passed);
        assert_true(filter.is_oversized && frame_filter_has_prefix(&filter));
        assert_true(count >= before && count < before + 8);
        assert_memory_equal(filter.prefix, "{\"type\": \"job_result\"xxx", 23);
        assert_true(filter.skipper.has_closed);
        frame_filter_clear(&filter);
    }
}

static void head_without_payload_is_held_back(void **state)
{
    (void)state;
    struct frame_filter filter;
    uint8_t passed[ROOM];
    used = 0;
    add_frame(0x81, "abc", LIMIT + 1, 3);
    feed(&filter, 1, passed);
    assert_true(filter.is_oversized && !frame_filter_has_prefix(&filter));
    assert_int_equal(filter.prefix_length, 3);
    assert_memory_equal(filter.prefix, "abc", 3);
    assert_false(filter.skipper.has_closed);
    frame_filter_clear(&filter);
}

static void fragments_count_together(void **state)
{
    (void)state;
    struct frame_filter filter;
    uint8_t passed[ROOM];
    used = 0;
    add_frame(0x01, "", 600, 600);
    add_frame(0x89, "", 100, 100); /* a ping does not count */
    size_t before = used;
    add_frame(0x80, "", 401, 401);
    assert_true(feed(&filter, ROOM, passed) >= before);
    assert_true(filter.is_oversized && frame_filter_has_prefix(&filter));
    assert_int_equal(filter.prefix_length, 0);
    frame_filter_clear(&filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_becomes_binary_and_nothing_else_changes),
        cmocka_unit_test(a_message_at_the_limit_passes),
        cmocka_unit_test(too_large_message_never_reaches_the_library),
        cmocka_unit_test(head_without_payload_is_held_back),
        cmocka_unit_test(fragments_count_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
