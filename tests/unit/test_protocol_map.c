#include "common/domain/protocol_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void every_protocol_is_found_by_its_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        enum protocol found;
        assert_true(protocol_find(protocol_name((enum protocol)i), &found));
        assert_int_equal(found, i);
        assert_int_equal(protocol_parse(protocol_name((enum protocol)i)), i);
    }
}

static void unknown_name_changes_nothing_and_stands_for_the_classic_protocol(void **state)
{
    (void)state;
    enum protocol found = PROTOCOL_COURSE;
    assert_false(protocol_find("of a later version", &found));
    assert_int_equal(found, PROTOCOL_COURSE);
    assert_int_equal(protocol_parse("of a later version"), PROTOCOL_CLASSIC);
}

/* Stored by earlier versions, and documented: they stay. */
static void names_stay_as_they_are(void **state)
{
    (void)state;
    assert_string_equal(protocol_name(PROTOCOL_CLASSIC), "seed");
    assert_string_equal(protocol_title(PROTOCOL_CLASSIC), "classic");
    assert_string_equal(protocol_name(PROTOCOL_COURSE), "course");
    assert_string_equal(protocol_title(PROTOCOL_COURSE), "course");
}

static void what_names_no_protocol_is_known_by_its_course(void **state)
{
    (void)state;
    assert_int_equal(protocol_by_course(false), PROTOCOL_CLASSIC);
    assert_int_equal(protocol_by_course(true), PROTOCOL_COURSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_is_found_by_its_name),
        cmocka_unit_test(unknown_name_changes_nothing_and_stands_for_the_classic_protocol),
        cmocka_unit_test(names_stay_as_they_are),
        cmocka_unit_test(what_names_no_protocol_is_known_by_its_course),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
