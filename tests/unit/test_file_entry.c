#include "common/domain/file_entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct bw_error error;

static void digest_has_one_form(void **state)
{
    (void)state;
    char hex[SHA256_TEXT_SIZE] = "", text[FILE_DIGEST_SIZE];
    assert_true(file_digest_parse("sha256:" HEX, hex));
    assert_string_equal(hex, HEX);
    assert_string_equal(file_digest_format(HEX, text), "sha256:" HEX);
}

static void other_texts_are_no_digest(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "sha256:",
        HEX,
        "sha1:" HEX,
        "SHA256:" HEX,
        "sha256:" HEX "0",
        "sha256: " HEX,
        "sha256:0123456789abcdef",
        "sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
    };
    char hex[SHA256_TEXT_SIZE] = "kept";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(file_digest_parse(texts[i], hex));
    assert_string_equal(hex, "kept");
}

static void relative_paths_are_accepted(void **state)
{
    (void)state;
    static const char *const paths[] = {"a", "a/b.c", "...", "..a/.b", "ä ö/x", "a\\b"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(file_path_check(paths[i], "path", &error), BW_OK);
}

static void paths_that_leave_the_directory_or_are_unclear_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"",     "/",    "/a",    "a/",   "a//b",
                                        ".",    "..",   "a/..",  "./a",  "a/./b",
                                        "a\nb", "a\tb", "a\x7f", "../a", "a/../b"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(file_path_check(paths[i], "files[3].path", &error), BW_BAD_REQUEST);
        assert_non_null(strstr(error.message, "files[3].path: "));
    }
}

static void path_has_a_limit(void **state)
{
    (void)state;
    char path[FILE_PATH_MAX + 2];
    memset(path, 'a', sizeof path);
    path[FILE_PATH_MAX] = '\0';
    assert_int_equal(file_path_check(path, "p", &error), BW_OK);
    path[FILE_PATH_MAX] = 'a';
    path[FILE_PATH_MAX + 1] = '\0';
    assert_int_equal(file_path_check(path, "p", &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "p: must have at most 1024 bytes, not 1025");
}

static enum bw_code read_entry(json_t *value, struct file_entry *entry)
{
    enum bw_code code = file_entry_read(value, "files[0]", entry, &error);
    json_decref(value);
    return code;
}

static void entry_is_read(void **state)
{
    (void)state;
    struct file_entry entry;
    json_t *value = json_pack("{s:s,s:s,s:b}", "path", "a/b", "digest", "sha256:" HEX, "unpack", 1);
    assert_int_equal(file_entry_read(value, "files[0]", &entry, &error), BW_OK);
    assert_string_equal(entry.path, "a/b");
    assert_string_equal(entry.hex, HEX);
    assert_true(entry.is_unpacked);
    json_object_del(value, "unpack");
    json_object_set_new(value, "size", json_integer(3));
    assert_true(file_entry_load(value, &entry));
    assert_false(entry.is_unpacked);
    json_decref(value);
}

static void wrong_entries_are_refused_with_their_place(void **state)
{
    (void)state;
    struct file_entry entry;
    assert_int_equal(read_entry(json_pack("[]"), &entry), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "files[0]"));
    assert_int_equal(read_entry(json_pack("{s:s}", "path", "a"), &entry), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "digest"));
    assert_int_equal(read_entry(json_pack("{s:s,s:s}", "path", "a", "digest", HEX), &entry),
                     BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "files[0].digest: must be sha256:"));
    assert_int_equal(
        read_entry(json_pack("{s:s,s:s,s:i}", "path", "a", "digest", "sha256:" HEX, "mode", 1),
                   &entry),
        BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "mode"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_has_one_form),
        cmocka_unit_test(other_texts_are_no_digest),
        cmocka_unit_test(relative_paths_are_accepted),
        cmocka_unit_test(paths_that_leave_the_directory_or_are_unclear_are_refused),
        cmocka_unit_test(path_has_a_limit),
        cmocka_unit_test(entry_is_read),
        cmocka_unit_test(wrong_entries_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
