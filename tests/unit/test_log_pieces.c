#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/text_cut.h"
#include "common/domain/log_pieces.h"

static void add(struct log_pieces *pieces, int64_t offset, const char *text)
{
    log_pieces_add(pieces, offset, text, strlen(text));
}

static void assert_text(const struct log_pieces *pieces, int64_t from, int64_t to,
                        const char *expected)
{
    struct text_buffer text = {.bytes = NULL};
    log_pieces_write(pieces, from, to, &text);
    char *found = text_buffer_take(&text);
    assert_string_equal(found, expected);
    free(found);
}

static void pieces_in_any_order_make_one_text(void **state)
{
    (void)state;
    struct log_pieces pieces = {.list = NULL};
    add(&pieces, 4, "two\n");
    add(&pieces, 0, "one\n");
    add(&pieces, 0, "");
    log_pieces_sort(&pieces);
    assert_int_equal(log_pieces_size(&pieces), 8);
    assert_text(&pieces, 0, 8, "one\ntwo\n");
    assert_text(&pieces, 2, 6, "e\ntw");
    assert_text(&pieces, 8, 8, "");
    log_pieces_clear(&pieces);
    assert_int_equal(log_pieces_size(&pieces), 0);
}

static void a_gap_is_marked_as_far_as_it_is_in_the_range(void **state)
{
    (void)state;
    struct log_pieces pieces = {.list = NULL};
    add(&pieces, 10, "ten");
    add(&pieces, 20, "twenty");
    log_pieces_sort(&pieces);
    assert_text(&pieces, 0, 26, "\n[... 10 bytes cut ...]\nten\n[... 7 bytes cut ...]\ntwenty");
    assert_text(&pieces, 12, 15, "n\n[... 2 bytes cut ...]\n");
    assert_text(&pieces, 2, 5, "\n[... 3 bytes cut ...]\n");
    assert_text(&pieces, 18, 21, "\n[... 2 bytes cut ...]\nt");
    log_pieces_clear(&pieces);
}

static void lines_are_counted_from_the_end(void **state)
{
    (void)state;
    struct log_pieces pieces = {.list = NULL};
    assert_int_equal(log_pieces_tail(&pieces, 1), 0);
    add(&pieces, 0, "a\nb\n");
    add(&pieces, 4, "\nc");
    log_pieces_sort(&pieces);
    assert_int_equal(log_pieces_tail(&pieces, 1), 5);
    assert_int_equal(log_pieces_tail(&pieces, 2), 4);
    assert_int_equal(log_pieces_tail(&pieces, 3), 2);
    assert_int_equal(log_pieces_tail(&pieces, 9), 0);
    add(&pieces, 6, "\n");
    log_pieces_sort(&pieces);
    assert_int_equal(log_pieces_tail(&pieces, 1), 5);
    log_pieces_clear(&pieces);
}

static void a_cut_log_keeps_the_offsets_of_its_end(void **state)
{
    (void)state;
    enum { LENGTH = 5000, LIMIT = 1000 };
    char text[LENGTH + 1];
    for (size_t i = 0; i < LENGTH; i++)
        text[i] = (char)('a' + i % 26);
    text[LENGTH] = '\0';
    size_t length;
    struct text_cut_place place;
    char *cut = text_cut_place(text, LENGTH, LIMIT, &length, &place);
    struct log_pieces pieces = {.list = NULL};
    log_pieces_add_stored(&pieces, cut, length, &place);
    assert_int_equal(log_pieces_size(&pieces), LENGTH);
    assert_text(&pieces, 0, LENGTH, cut);
    assert_text(&pieces, LENGTH - 10, LENGTH, text + LENGTH - 10);
    log_pieces_clear(&pieces);
    free(cut);
}

static void a_mark_in_the_text_means_nothing(void **state)
{
    (void)state;
    static const char text[] = "a\n[... 999999999999999 bytes cut ...]\nb\n";
    static const struct text_cut_place cuts[] = {
        {0, 0, 0},
        {1, 2, LOG_MISSING_MAX + 1},
        {2, 1, 5},
        {1, sizeof text, 5},
    };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct log_pieces pieces = {.list = NULL};
        log_pieces_add_stored(&pieces, text, sizeof text - 1, &cuts[i]);
        assert_int_equal(log_pieces_size(&pieces), sizeof text - 1);
        assert_int_equal(log_pieces_tail(&pieces, 1), sizeof text - 3);
        assert_text(&pieces, 0, sizeof text - 1, text);
        log_pieces_clear(&pieces);
    }
}

static void a_cut_is_believed_only_where_its_mark_is(void **state)
{
    (void)state;
    static const char text[] = "ab\n[... 7 bytes cut ...]\nc";
    struct text_cut_place place = {.head = 2, .missing = 7};
    assert_true(text_cut_has_mark(text, sizeof text - 1, &place));
    assert_int_equal(place.tail, sizeof text - 2);
    static const struct text_cut_place others[] = {
        {1, 0, 7}, {2, 0, 8}, {2, 0, 0}, {sizeof text, 0, 7}, {sizeof text - 2, 0, 7}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        place = others[i];
        assert_false(text_cut_has_mark(text, sizeof text - 1, &place));
    }
}

static void what_is_no_utf8_is_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } rows[] = {
        {"ok \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80", 14,
         "ok \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"},
        {"a\0b", 3,
         "a\xEF\xBF\xBD"
         "b"},
        {"\xC3", 1, "\xEF\xBF\xBD"},
        {"\xC0\x80", 2, "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF4\x90\x80\x80", 4, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE2\x82z", 3, "\xEF\xBF\xBD\xEF\xBF\xBDz"},
        {"\xFFz\x80", 3, "\xEF\xBF\xBDz\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text_buffer text = {.bytes = NULL};
        log_text_add(&text, rows[i].bytes, rows[i].length);
        char *found = text_buffer_take(&text);
        assert_string_equal(found, rows[i].text);
        free(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_in_any_order_make_one_text),
        cmocka_unit_test(a_gap_is_marked_as_far_as_it_is_in_the_range),
        cmocka_unit_test(lines_are_counted_from_the_end),
        cmocka_unit_test(a_cut_log_keeps_the_offsets_of_its_end),
        cmocka_unit_test(a_mark_in_the_text_means_nothing),
        cmocka_unit_test(a_cut_is_believed_only_where_its_mark_is),
        cmocka_unit_test(what_is_no_utf8_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
