#include "common/base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void random_hex_fills_its_room_and_differs(void **state)
{
    (void)state;
    char one[33], other[33], longer[301];
    secret_random_hex(one, sizeof one);
    secret_random_hex(other, sizeof other);
    secret_random_hex(longer, sizeof longer);
    assert_int_equal(strspn(one, "0123456789abcdef"), 32);
    assert_int_equal(strspn(longer, "0123456789abcdef"), 300);
    assert_string_not_equal(one, other);
}

static void digest_is_sha256_over_lengths_and_parts(void **state)
{
    (void)state;
    char digest[SHA256_TEXT_SIZE];
    /* printf '\3\0\0\0\0\0\0\0abc' | sha256sum */
    secret_digest(&(struct digest_part){"abc", 3}, 1, digest);
    assert_string_equal(digest, "ce91dc5eec0139adf091900d225971d6ad246a845bad791b5693a9d0d55dd391");
}

static void digests_of_parts_differ_from_those_of_their_sum(void **state)
{
    (void)state;
    char one[SHA256_TEXT_SIZE], other[SHA256_TEXT_SIZE], whole[SHA256_TEXT_SIZE];
    secret_digest((struct digest_part[]){{"ab", 2}, {"c", 1}}, 2, one);
    secret_digest((struct digest_part[]){{"a", 1}, {"bc", 2}}, 2, other);
    secret_digest((struct digest_part[]){{"abc", 3}}, 1, whole);
    assert_string_not_equal(one, other);
    assert_string_not_equal(one, whole);
}

static void only_the_token_itself_matches_its_hash(void **state)
{
    (void)state;
    struct token_hash kept;
    token_hash_make("correct", &kept);
    assert_true(token_hash_matches(&kept, "correct"));
    assert_false(token_hash_matches(&kept, "correc"));
    assert_false(token_hash_matches(&kept, "correctx"));
    assert_false(token_hash_matches(&kept, ""));
    assert_false(token_hash_matches(&kept, kept.hash));
}

static void same_token_has_a_new_salt_each_time(void **state)
{
    (void)state;
    struct token_hash one, other;
    token_hash_make("correct", &one);
    token_hash_make("correct", &other);
    assert_string_not_equal(one.hash, other.hash);
}

static void hash_is_read_back_from_its_text(void **state)
{
    (void)state;
    struct token_hash kept, read;
    char text[TOKEN_HASH_TEXT_SIZE];
    token_hash_make("correct", &kept);
    token_hash_format(&kept, text);
    assert_true(token_hash_parse(text, &read));
    assert_true(token_hash_matches(&read, "correct"));
    text[3] = 'x';
    assert_false(token_hash_parse(text, &read));
    assert_false(token_hash_parse("", &read));
    assert_false(token_hash_parse("a plain token", &read));
}

static void keyed_digest_depends_on_key_and_on_each_part(void **state)
{
    (void)state;
    char one[SHA256_TEXT_SIZE], other[SHA256_TEXT_SIZE];
    const struct digest_part parts[] = {{"ab", 2}, {"c", 1}}, moved[] = {{"a", 1}, {"bc", 2}};
    secret_keyed_digest("key", parts, 2, one);
    secret_keyed_digest("key", parts, 2, other);
    assert_string_equal(one, other);
    secret_keyed_digest("other key", parts, 2, other);
    assert_string_not_equal(one, other);
    secret_keyed_digest("key", moved, 2, other);
    assert_string_not_equal(one, other);
    secret_digest(parts, 2, other);
    assert_string_not_equal(one, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_hex_fills_its_room_and_differs),
        cmocka_unit_test(digest_is_sha256_over_lengths_and_parts),
        cmocka_unit_test(digests_of_parts_differ_from_those_of_their_sum),
        cmocka_unit_test(only_the_token_itself_matches_its_hash),
        cmocka_unit_test(same_token_has_a_new_salt_each_time),
        cmocka_unit_test(keyed_digest_depends_on_key_and_on_each_part),
        cmocka_unit_test(hash_is_read_back_from_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
