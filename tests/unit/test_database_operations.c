#include "common/db/database_operations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void each_command_has_one_kind(void **state)
{
    (void)state;
    assert_int_equal(database_operation_of("find"), DATABASE_OPERATION_FIND);
    assert_int_equal(database_operation_of("getMore"), DATABASE_OPERATION_FIND);
    assert_int_equal(database_operation_of("insert"), DATABASE_OPERATION_INSERT);
    assert_int_equal(database_operation_of("update"), DATABASE_OPERATION_UPDATE);
    assert_int_equal(database_operation_of("findAndModify"), DATABASE_OPERATION_UPDATE);
    assert_int_equal(database_operation_of("delete"), DATABASE_OPERATION_DELETE);
    assert_int_equal(database_operation_of("hello"), DATABASE_OPERATION_OTHER);
    assert_int_equal(database_operation_of(""), DATABASE_OPERATION_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_command_has_one_kind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
