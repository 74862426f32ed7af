#include "api/websocket/discard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "api/websocket/handshake.h"

/* Feeds all of it, `step` bytes at a time. */
static bool feed(const uint8_t *bytes, size_t length, size_t step)
{
    struct frame_discard skipper = {.head_length = 0};
    bool has_closed = false;
    for (size_t at = 0; at < length; at += step)
        has_closed = frame_discard_feed(&skipper, bytes + at,
                                        length - at < step ? length - at : step);
    return has_closed;
}

static void close_frame_is_found_after_other_frames_in_any_pieces(void **state)
{
    (void)state;
    uint8_t bytes[1000] = {0x81, 0x85, 1, 2, 3, 4}; /* text, masked, 5 bytes */
    size_t at = 6 + 5;
    bytes[at] = 0x82; /* binary, 300 bytes; the payload looks like a close frame */
    bytes[at + 1] = 0x80 | 126;
    bytes[at + 2] = 300 >> 8;
    bytes[at + 3] = 300 & 0xFF;
    memset(bytes + at + 8, 0x88, 300);
    at += 8 + 300;
    bytes[at] = 0x89; /* a ping without payload */
    bytes[at + 1] = 0x80;
    at += 6;
    for (size_t step = 1; step < 20; step++)
        assert_false(feed(bytes, at, step));
    bytes[at] = 0x88;
    bytes[at + 1] = 0x82;
    for (size_t step = 1; step < 20; step++)
        assert_true(feed(bytes, at + 8, step));
}

static void frame_with_a_huge_length_takes_no_memory(void **state)
{
    (void)state;
    uint8_t bytes[100] = {0x81, 0xFF, 0, 0, 0, 2}; /* 8 GiB */
    memset(bytes + 14, 0x88, sizeof bytes - 14);
    assert_false(feed(bytes, sizeof bytes, 7));
}

static void accept_value_is_that_of_the_standard(void **state)
{
    (void)state;
    char accept[UPGRADE_ACCEPT_SIZE];
    socket_accept_value("dGhlIHNhbXBsZSBub25jZQ==", accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_frame_is_found_after_other_frames_in_any_pieces),
        cmocka_unit_test(frame_with_a_huge_length_takes_no_memory),
        cmocka_unit_test(accept_value_is_that_of_the_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
