#include "common/domain/receipt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The numbers of this file were computed by another implementation. They never change: receipts of
 * version 1 are verified years later. */

#define RUN "0123456789abcdef01234567"
#define JOB RUN "10000002"

static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
                              "-----END PRIVATE KEY-----\n";
static const char digest[] = "c4ccaef643ed3cc884ff4b5a106f0fff3dea010912ca24f27002621f6eedb892";

static struct signing_key *read_key(void)
{
    struct signing_key *key;
    struct bw_error error;
    assert_int_equal(signing_key_read(key_pem, strlen(key_pem), &key, &error), BW_OK);
    return key;
}

static void text_of_version_1_is_frozen(void **state)
{
    (void)state;
    char made[SHA256_TEXT_SIZE];
    const double score = 7.3, max_score = 10;
    json_auto_t *images = json_pack("[{s:s,s:s}]", "image", "alpine", "digest", "sha256:1");
    char *text = receipt_text(&(struct receipt){.origin = RECEIPT_OF_RESULT,
                                                .run = RUN,
                                                .job = JOB,
                                                .definition = "d1",
                                                .stages = "d2",
                                                .attempt = 2,
                                                .worker = "w",
                                                .handed_out_ms = 1795996800000,
                                                .finished_ms = 1795996801234,
                                                .outcome = OUTCOME_FAILED,
                                                .owner = OWNER_STUDENT,
                                                .reason = "no \"ä\"\001",
                                                .note = "cut",
                                                .superseded_by = "",
                                                .score = &score,
                                                .max_score = &max_score,
                                                .result = "r1",
                                                .files = "",
                                                .tests = "t1",
                                                .drift = "d3",
                                                .sent = "s1",
                                                .images = images});
    assert_string_equal(
        text, "{\"attempt\":2,\"definition\":\"d1\",\"drift\":\"d3\",\"files\":null,"
              "\"finished_at\":\"2026-11-30T00:00:01.234Z\","
              "\"handed_out_at\":\"2026-11-30T00:00:00.000Z\","
              "\"images\":[{\"digest\":\"sha256:1\",\"image\":\"alpine\"}],\"job_id\":\"" JOB "\","
              "\"made_with\":\"result\",\"max_score\":10,\"note\":\"cut\",\"outcome\":\"failed\","
              "\"owner\":\"student\",\"reason\":\"no \\\"ä\\\"\\u0001\","
              "\"result\":\"r1\",\"run_id\":\"" RUN "\",\"score\":7.3,\"sent\":\"s1\","
              "\"stages\":\"d2\",\"superseded_by\":null,\"tests\":\"t1\",\"version\":1,"
              "\"worker\":\"w\"}");
    receipt_digest(text, strlen(text), made);
    assert_string_equal(made, digest);
    free(text);
}

/* The rows of docs/receipts.md, which scripts/broadway is tested with. */
static void numbers_have_one_form(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "0"},
        {7.0, "7"},
        {1e9, "1000000000"},
        {7.3, "7.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {-1.0 / 3, "-0.3333333333333333"},
        {123456789.12345679, "123456789.12345679"},
        {0.0001, "0.0001"},
        {0.00001, "1e-5"},
        {2.5e-10, "2.5e-10"},
        {5e-324, "5e-324"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "\"score\":%s,", rows[i].text);
        char *text = receipt_text(&(struct receipt){
            .run = RUN, .job = JOB, .outcome = OUTCOME_SUCCEEDED, .score = &rows[i].number});
        assert_non_null(strstr(text, expected));
        free(text);
    }
}

static void what_is_not_known_is_null(void **state)
{
    (void)state;
    char *text = receipt_text(&(struct receipt){
        .origin = RECEIPT_OF_CHAIN, .run = RUN, .job = JOB, .outcome = OUTCOME_CANCELLED});
    assert_string_equal(text, "{\"attempt\":null,\"definition\":null,\"drift\":null,\"files\":null,"
                              "\"finished_at\":null,\"handed_out_at\":null,\"images\":[],"
                              "\"job_id\":\"" JOB "\",\"made_with\":\"chain\",\"max_score\":null,"
                              "\"note\":null,\"outcome\":\"cancelled\",\"owner\":null,"
                              "\"reason\":null,\"result\":null,\"run_id\":\"" RUN "\","
                              "\"score\":null,\"sent\":null,\"stages\":null,"
                              "\"superseded_by\":null,\"tests\":null,\"version\":1,"
                              "\"worker\":null}");
    free(text);
}

static void signatures_and_links_of_version_1_are_frozen(void **state)
{
    (void)state;
    struct signing_key *key = read_key();
    struct receipt_chain chain;
    char signature[SIGNING_KEY_SIGNATURE_SIZE];
    receipt_sign(key, digest, signature);
    assert_string_equal(signature,
                        "W9H5lopFio8sb1sEAuAmJsXdJfLvfgCcpn9fb2XhDa3nCdCpnKjsb0EHZjopvMtN"
                        "Dh9wzo/B6nbJJHHxpfRIBg==");
    receipt_chain_begin(&chain, RUN);
    assert_string_equal(chain.head,
                        "2ea48f47ce3e2ddde867eea236f61928cba4bb9d5cdbfe426f4433b4592031e6");
    receipt_chain_add(&chain, digest);
    assert_string_equal(chain.head,
                        "f33e5982a6085f92890c3688faafe265b3fdd17132a21c1683d7a57ffe9dc4d6");
    assert_int_equal(chain.count, 1);
    receipt_chain_sign(key, &chain, RUN, signature);
    assert_string_equal(signature,
                        "j8g0MB8o+oyR6aJqCQkihZ/i99TMGM7m+8P2lIU5yNJIU1JPOeCH5M1WEnJ5bTAr"
                        "X0btKcwYNg+UFnK+VHljDQ==");
    signing_key_free(key);
}

static json_t *images_of(const char *result)
{
    json_auto_t *value = json_loads(result, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return receipt_images(value);
}

static void images_are_those_that_the_result_reports(void **state)
{
    (void)state;
    static const char *const none[] = {
        "1",
        "\"stages\"",
        "[1, null]",
        "{\"stages\": 7}",
        "{\"stages\": [1, {\"image\": \"a\"}]}",
        "{\"stages\": [{\"image\": \"a\", \"image_digest\": 1}]}",
        "{\"stages\": [{\"image\": \"\", \"image_digest\": \"b\"}]}"};
    static const char stage[] = "{\"stages\": [{\"image\": \"a\", \"image_digest\": \"b\"}]}";
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(images_of(none[i]));
    json_auto_t *images = images_of(stage);
    char *text = json_dumps(images, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "[{\"digest\":\"b\",\"image\":\"a\"}]");
    free(text);
    json_auto_t *many = json_array();
    for (size_t i = 0; i < RECEIPT_IMAGES_MAX + 5; i++)
        json_array_append_new(many, json_loads(stage, 0, NULL));
    json_auto_t *kept = receipt_images(many);
    assert_int_equal(json_array_size(kept), RECEIPT_IMAGES_MAX);
}

/* ---- The key ---- */

static void public_key_is_shown(void **state)
{
    (void)state;
    struct signing_key *key = read_key();
    assert_string_equal(signing_key_public(key), "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
    assert_string_equal(signing_key_public_pem(key),
                        "-----BEGIN PUBLIC KEY-----\n"
                        "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
                        "-----END PUBLIC KEY-----\n");
    signing_key_free(key);
}

static void every_new_key_is_another_and_can_be_read(void **state)
{
    (void)state;
    char first[SIGNING_KEY_PEM_SIZE], second[SIGNING_KEY_PEM_SIZE];
    struct signing_key *key;
    struct bw_error error;
    signing_key_make(first);
    signing_key_make(second);
    assert_string_not_equal(first, second);
    assert_int_equal(signing_key_read(first, strlen(first), &key, &error), BW_OK);
    signing_key_free(key);
}

static void other_texts_are_no_keys(void **state)
{
    (void)state;
    static const char of_another_kind[] =
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n"
        "AAAAAAAAAAAAAAAAAAAAAAAAMDmhRANCAAQm7869DunjSmaRh+GLOpEisvczlFtk\n"
        "nMn5+SHp+drYEpAji96cx7szDRUMZ3BN0lrnBVIFdEtvMb9AcHRYctDm\n"
        "-----END PRIVATE KEY-----\n";
    static const char *const none[] = {
        "", "key",
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
        "-----END PUBLIC KEY-----\n"};
    struct signing_key *key;
    struct bw_error error;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(signing_key_read(none[i], strlen(none[i]), &key, &error), BW_BAD_REQUEST);
        assert_string_equal(error.message, "there is no unencrypted private key in PEM");
    }
    assert_int_equal(signing_key_read(of_another_kind, strlen(of_another_kind), &key, &error),
                     BW_BAD_REQUEST);
    assert_string_equal(error.message, "the private key is of another kind than Ed25519");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_version_1_is_frozen),
        cmocka_unit_test(numbers_have_one_form),
        cmocka_unit_test(what_is_not_known_is_null),
        cmocka_unit_test(signatures_and_links_of_version_1_are_frozen),
        cmocka_unit_test(images_are_those_that_the_result_reports),
        cmocka_unit_test(public_key_is_shown),
        cmocka_unit_test(every_new_key_is_another_and_can_be_read),
        cmocka_unit_test(other_texts_are_no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
