/* The table of URLs (S16): what is refused at submission, and what no request reaches: the requests
 * are real ones of libcurl, which is asked to connect. No name is resolved: all hosts are numbers.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/domain/webhook.h"
#include "common/domain/webhook_address.h"
#include "common/domain/webhook_body.h"
#include "scheduler/io/webhook_request.h"

static const char *const bad_urls[] = {
    "",
    "example.org",
    "//example.org/",
    "http://",
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/",
    "ldap://127.0.0.1/",
    "javascript:alert(1)",
    "http://user@example.org/",
    "http://user:password@example.org/",
    "http://:password@example.org/",
    "http://example.org@127.0.0.1/",
    "http://example.org:99999/",
    "http://example.org:port/",
    "http://example.org/a b",
    "http://exam ple.org/",
    "http://example.org/\r\nHost: other",
    "http://[::1/",
    "http://[::g]/",
};

static const char *const refused_urls[] = {
    "http://127.0.0.1/",
    "http://127.0.0.1:27017/",
    "https://127.0.0.1/",
    "http://127.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://100.64.0.1/",
    "http://168.63.129.16/machine/?comp=goalstate",
    "http://169.254.169.254/latest/meta-data/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001::1]/",
};

enum {
    BAD = sizeof bad_urls / sizeof *bad_urls,
    REFUSED = sizeof refused_urls / sizeof *refused_urls
};

static struct webhook_allow_list *allow(const char *text)
{
    struct webhook_allow_list *list = NULL;
    struct bw_error error;
    assert_int_equal(webhook_allow_list_new(text, &list, &error), BW_OK);
    return list;
}

static void malformed_and_foreign_urls_are_refused_at_submission(void **state)
{
    struct bw_error error;
    (void)state;
    for (size_t i = 0; i < BAD; i++) {
        if (webhook_url_check(bad_urls[i], "url", &error) != BW_BAD_REQUEST)
            fail_msg("'%s' was taken", bad_urls[i]);
        assert_memory_equal(error.message, "url: ", 5);
    }
    for (size_t i = 0; i < REFUSED; i++)
        assert_int_equal(webhook_url_check(refused_urls[i], "url", &error), BW_OK);
    assert_int_equal(webhook_url_check("HTTPS://example.org:8443/a?b=c#d", "url", &error), BW_OK);
}

static void no_request_reaches_an_address_that_is_not_public(void **state)
{
    struct webhook_allow_list *list = allow(NULL);
    const struct webhook_delivery delivery = {.event_id = "e", .payload = "{\"event\":\"x\"}"};
    (void)state;
    for (size_t i = 0; i < REFUSED; i++) {
        struct webhook webhook = {.secret = "secret"};
        char text[WEBHOOK_ERROR_SIZE];
        int64_t status = 1;
        snprintf(webhook.url, sizeof webhook.url, "%s", refused_urls[i]);
        struct webhook_request *request = webhook_request_new(&webhook, &delivery, 0, list);
        CURLcode code = curl_easy_perform(webhook_request_handle(request, NULL));
        assert_int_not_equal(code, CURLE_OK);
        assert_false(webhook_request_result(request, code, &status, text));
        assert_int_equal(status, 0);
        if (strcmp(text, "the address is not public, and --webhook-allow does not list it") != 0)
            fail_msg("%s: %s", refused_urls[i], text);
        webhook_request_free(request);
    }
    webhook_allow_list_free(list);
}

static bool allows(const struct webhook_allow_list *list, const char *host, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return webhook_address_is_allowed(list, host, (struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return webhook_address_is_allowed(list, host, (struct sockaddr *)&v6);
}

static void public_addresses_and_those_of_the_list_are_allowed(void **state)
{
    struct webhook_allow_list *none = allow(NULL),
                              *list = allow("10.1.0.0/16,fd00::/8,127.0.0.1,hooks.internal");
    static const char *const public[] = {"1.1.1.1",     "8.8.8.8",        "172.15.255.255",
                                         "172.32.0.1",  "168.63.129.17",  "11.0.0.1",
                                         "100.128.0.1", "2606:4700::1111"};
    (void)state;
    for (size_t i = 0; i < sizeof public / sizeof *public; i++)
        assert_true(allows(none, "x", public[i]));
    assert_true(allows(list, "x", "10.1.2.3"));
    assert_true(allows(list, "x", "::ffff:10.1.2.3"));
    assert_false(allows(list, "x", "10.2.0.1"));
    assert_true(allows(list, "x", "fd01::1"));
    assert_false(allows(list, "x", "fc00::1"));
    assert_true(allows(list, "x", "127.0.0.1"));
    assert_false(allows(list, "x", "127.0.0.2"));
    assert_true(allows(list, "Hooks.Internal", "192.168.7.7"));
    assert_false(allows(list, "other.internal", "192.168.7.7"));
    const struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(webhook_address_is_allowed(list, "hooks.internal", &local));
    webhook_allow_list_free(none);
    webhook_allow_list_free(list);
}

static void a_list_with_nonsense_is_refused(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.0/",   "10.0.0/8", "::/129", "a/b",
                                      "a b",         "10.0.0.0/8x", ",",        "1.2.3"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct webhook_allow_list *list = NULL;
        struct bw_error error;
        if (webhook_allow_list_new(bad[i], &list, &error) != BW_BAD_REQUEST)
            fail_msg("'%s' was taken", bad[i]);
    }
}

/* The wanted value is computed by Python: hmac.new(b"a-secret-of-the-test", b"1.id.{}", "sha256")
 */
static void the_signature_is_a_plain_hmac(void **state)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];
    (void)state;
    webhook_sign("a-secret-of-the-test", 1, "id", "{}", signature);
    assert_string_equal(signature,
                        "t=1,v1=81f117865a9531c7e2598e5ac2c2eeba2f4197ea994c3a29a69b409538744110");
}

/* What Discord gets of a payload. */
static void assert_sentence(const char *payload, const char *sentence)
{
    char wanted[300];
    char *body = webhook_body(payload, WEBHOOK_DISCORD);
    snprintf(wanted, sizeof wanted, "{\"content\":\"%s\",\"allowed_mentions\":{\"parse\":[]}}",
             sentence);
    assert_string_equal(body, wanted);
    free(body);
}

static void sentences_count_one_and_many(void **state)
{
    (void)state;
    assert_sentence("{\"event\":\"run_finished\",\"run\":{\"id\":\"r\",\"state\":\"finished\","
                    "\"students\":{\"succeeded\":1,\"failed\":1,\"cancelled\":1}}}",
                    "Grading run r is finished: 1 student succeeded, 1 failed, 1 was cancelled.");
    assert_sentence("{\"event\":\"run_finished\",\"run\":{\"id\":\"r\",\"state\":\"finished\","
                    "\"students\":{\"succeeded\":2,\"failed\":0,\"cancelled\":0}}}",
                    "Grading run r is finished: 2 students succeeded, 0 failed, 0 were cancelled.");
    assert_sentence("{\"event\":\"worker_lost\",\"worker\":{\"id\":\"w\",\"jobs\":1}}",
                    "Grader w is lost; 1 of its jobs goes to another grader.");
    assert_sentence("{\"event\":\"worker_lost\",\"worker\":{\"id\":\"w\",\"jobs\":3}}",
                    "Grader w is lost; 3 of its jobs go to other graders.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_and_foreign_urls_are_refused_at_submission),
        cmocka_unit_test(no_request_reaches_an_address_that_is_not_public),
        cmocka_unit_test(public_addresses_and_those_of_the_list_are_allowed),
        cmocka_unit_test(a_list_with_nonsense_is_refused),
        cmocka_unit_test(the_signature_is_a_plain_hmac),
        cmocka_unit_test(sentences_count_one_and_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
