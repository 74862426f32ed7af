#include "api/http/form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct json_mend_report report;

static enum bw_code add(const char *name, const char *value, void *context, struct bw_error *error)
{
    char *shown = context;
    size_t length = strlen(shown);
    (void)error;
    snprintf(shown + length, 1000 - length, "%s%s=%s", length > 0 ? "&" : "", name, value);
    return BW_OK;
}

/* "name=value&…", or the refusal. */
static const char *read_form(const char *text, size_t length, struct json_mend_report *mended)
{
    static char shown[1000];
    struct bw_error error;
    shown[0] = '\0';
    if (form_read_urlencoded(text, length, "the body", add, shown, mended, &error) != BW_OK)
        snprintf(shown, sizeof shown, "%s", error.message);
    return shown;
}

/* The same for a multipart form with one part. */
static const char *read_part(const char *type, const char *disposition, const char *value,
                             size_t length, struct json_mend_report *mended)
{
    static char shown[1000];
    char body[1000];
    struct bw_error error;
    size_t used = (size_t)snprintf(body, sizeof body, "--b;x\r\nContent-Disposition: %s\r\n\r\n",
                                   disposition);
    memcpy(body + used, value, length);
    used += length;
    used += (size_t)snprintf(body + used, sizeof body - used, "\r\n--b;x--\r\n");
    shown[0] = '\0';
    if (form_read_multipart(type, body, used, add, shown, mended, &error) != BW_OK)
        snprintf(shown, sizeof shown, "%s", error.message);
    return shown;
}

static const char quoted_type[] = "multipart/form-data; charset=\"a;boundary=z\"; boundary=\"b;x\"";

static void quoted_semicolon_does_not_end_a_parameter(void **state)
{
    (void)state;
    static const char *const dispositions[] = {
        "form-data; name=\"worker_id\"",
        "form-data; filename=\"a; name=other\"; name=\"worker_id\"",
        "form-data; filename=\"a\\\"; name=other; \"; name=\"worker_id\"",
        "form-data; filename=\"C:\\dir\\\\\"; name=worker_id",
        "form-data ;x;y=;filename=\"\" ; name=\"worker_id\" ; z",
        "form-data; xname=a; name=worker_id",
        "form-data;NAME=\"worker_id\"",
    };
    for (size_t i = 0; i < sizeof dispositions / sizeof *dispositions; i++)
        assert_string_equal(read_part(quoted_type, dispositions[i], "w", 1, NULL), "worker_id=w");
}

static void part_without_a_name_is_refused(void **state)
{
    (void)state;
    static const char *const dispositions[] = {
        "form-data",
        "form-data;",
        "form-data; filename=\"a; name=worker_id\"",
        "form-data; filename=\"a; name=worker_id",
        "form-data; name=\"worker_id",
        "form-data; filename=\"a; name=\\\"b\\\"\"",
    };
    for (size_t i = 0; i < sizeof dispositions / sizeof *dispositions; i++)
        assert_string_equal(read_part(quoted_type, dispositions[i], "w", 1, NULL),
                            "the multipart form is incomplete");
}

static void nul_and_broken_escapes_are_refused_or_mended(void **state)
{
    (void)state;
    memset(&report, 0, sizeof report);
    assert_string_equal(read_form("a=x%00y", 7, NULL), "the body contains a NUL character");
    assert_string_equal(read_form("a=%zz", 5, NULL),
                        "the body contains a % that is not followed by two hex digits");
    assert_string_equal(read_form("a=x%00y\0z&b=100%&c=%4", 21, &report), "a=xyz&b=100%&c=%4");
    assert_int_equal(report.counts[JSON_MEND_NULS], 2);
    assert_int_equal(report.counts[JSON_MEND_ESCAPES], 2);
    static const char part[] = "form-data; name=a";
    assert_string_equal(read_part(quoted_type, part, "x\0y", 3, NULL),
                        "the form contains a NUL character");
    assert_string_equal(read_part(quoted_type, part, "x\0y", 3, &report), "a=xy");
    assert_int_equal(report.counts[JSON_MEND_NULS], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoted_semicolon_does_not_end_a_parameter),
        cmocka_unit_test(part_without_a_name_is_refused),
        cmocka_unit_test(nul_and_broken_escapes_are_refused_or_mended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
