#include "api/grading/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "api/grading/audit_list.h"
#include "api/http/wire_protocol.h"
#include "api/protocols.h"

static void each_route_of_clients_that_changes_something_has_an_action(void **state)
{
    (void)state;
    unsigned recorded = 0;
    for (unsigned i = 0; protocols[i] != NULL; i++)
        for (const struct route *route = protocols[i]->routes; route->method != NULL; route++) {
            const char *action = audit_action_of(route->method, route->path);
            if (audit_is_recorded(route) != (action != NULL))
                fail_msg("%s %s: add a row to audit_actions in api/grading/audit.c", route->method,
                         route->path);
            if (action == NULL)
                continue;
            assert_true(strlen(action) < AUDIT_ACTION_SIZE);
            assert_non_null(strchr(action, '.'));
            recorded++;
        }
    assert_int_equal(recorded, 38);
}

static void an_unknown_action_is_refused_with_all_that_there_are(void **state)
{
    (void)state;
    struct bw_error error = {""};
    for (unsigned i = 0; protocols[i] != NULL; i++)
        for (const struct route *route = protocols[i]->routes; route->method != NULL; route++) {
            const char *action = audit_action_of(route->method, route->path);
            if (action == NULL)
                continue;
            assert_int_equal(audit_action_check(action, "action", &error), BW_OK);
            assert_int_equal(audit_action_check("nosuch", "action", &error), BW_BAD_REQUEST);
            assert_non_null(strstr(error.message, action));
        }
    assert_string_equal(
        error.message,
        "action: 'nosuch' is not one of run.create, run.start, run.cancel, "
        "run.rerun, job.cancel, run.pause, run.resume, file.store, cluster.pause, "
        "cluster.resume, worker.pause, worker.resume, webhook.create, webhook.delete, webhook.redeliver, "
        "share.set, share.reset, reservation.set, reservation.delete, config.replace, "
        "assignment.pause, assignment.resume, course.pause, course.resume");
}

static void reads_and_requests_of_graders_are_not_recorded(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        enum auth auth;
        bool is_recorded;
    } rows[] = {
        {"POST", AUTH_CLIENT, true},    {"DELETE", AUTH_CLIENT, true},
        {"GET", AUTH_CLIENT, false},    {"POST", AUTH_WORKER, false},
        {"GET", AUTH_MEMBER, false},    {"POST", AUTH_CLUSTER, false},
        {"POST", AUTH_INTERNAL, false}, {"POST", AUTH_OPERATOR, true},
        {"GET", AUTH_OPERATOR, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct route route = {.method = rows[i].method, .path = "/", .auth = rows[i].auth};
        assert_int_equal(audit_is_recorded(&route), rows[i].is_recorded);
    }
}

static void an_id_has_its_date(void **state)
{
    (void)state;
    assert_int_equal(audit_id_date("6a978a7400fa0000000000ab"), 0x6a978a74LL * 1000 + 250);
    assert_int_equal(audit_id_date("000000000000000000000000"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_of_clients_that_changes_something_has_an_action),
        cmocka_unit_test(an_unknown_action_is_refused_with_all_that_there_are),
        cmocka_unit_test(reads_and_requests_of_graders_are_not_recorded),
        cmocka_unit_test(an_id_has_its_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
