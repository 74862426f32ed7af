#include "common/store/run_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "fake_database.h"

#define GOOD_ID "6b05c5d2164163397800c81b"

static const char *const bad_ids[] = {"", "x", "6b05c5d2164163397800c81",
                                      "6B05C5D2164163397800C81B", GOOD_ID "0"};

static const struct breaker no_breaker;
static const struct foretold_ends nothing_foretold;
static const struct run_advance finished = {.phase = RUN_FINISHED,
                                            .summary = (const uint8_t *)"",
                                            .breaker = &no_breaker,
                                            .foretold = &nothing_foretold};

static int open_store(void **state)
{
    struct bw_error error;
    memset(&fake, 0, sizeof fake);
    return run_store_open(NULL, (struct run_store **)state, &error) == BW_OK ? 0 : -1;
}

static int close_store(void **state)
{
    run_store_close(*state);
    return 0;
}

static enum protocol protocol_of(const char *course, const char *protocol)
{
    struct run run;
    bson_t *document = bson_new();
    bson_oid_t id;
    bson_oid_init_from_string(&id, GOOD_ID);
    BSON_APPEND_OID(document, "_id", &id);
    BSON_APPEND_UTF8(document, "state", "created");
    if (course != NULL)
        BSON_APPEND_UTF8(document, "course", course);
    if (protocol != NULL)
        BSON_APPEND_UTF8(document, "protocol", protocol);
    assert_true(run_from_document(document, &run));
    bson_destroy(document);
    return run.protocol;
}

static void protocol_of_a_run_defaults_by_its_course(void **state)
{
    (void)state;
    assert_int_equal(protocol_of(NULL, NULL), PROTOCOL_CLASSIC);
    assert_int_equal(protocol_of("cs225", NULL), PROTOCOL_COURSE);
    assert_int_equal(protocol_of(NULL, "seed"), PROTOCOL_CLASSIC);
    assert_int_equal(protocol_of("cs225", "seed"), PROTOCOL_CLASSIC);
    assert_int_equal(protocol_of(NULL, "course"), PROTOCOL_COURSE);
    assert_int_equal(protocol_of("cs225", "of a later version"), PROTOCOL_COURSE);
}

static void bad_id_is_not_found_and_nothing_is_sent(void **state)
{
    struct run_store *store = *state;
    struct bw_error error;
    for (size_t i = 0; i < sizeof bad_ids / sizeof *bad_ids; i++) {
        const char *id = bad_ids[i];
        struct run run;
        enum run_phase phase;
        char *text;
        size_t length;
        assert_int_equal(run_store_read(store, id, &run, &error), BW_NOT_FOUND);
        assert_int_equal(run_store_read_definition(store, id, &text, &length, &error),
                         BW_NOT_FOUND);
        assert_int_equal(run_store_start(store, id, RUN_PRE, &error), BW_NOT_FOUND);
        assert_int_equal(run_store_cancel(store, id, &phase, &error), BW_NOT_FOUND);
        assert_int_equal(run_store_advance(store, id, &finished, &error), BW_NOT_FOUND);
        assert_int_equal(run_store_hide(store, id, &error), BW_NOT_FOUND);
        assert_int_equal(run_store_delete(store, id, &error), BW_NOT_FOUND);
        assert_int_equal(fake.sent, 0);
    }
}

static void note_run(const char *run_id, void *context)
{
    (void)run_id;
    (void)context;
}

static void many_runs_are_found_in_few_reads(void **state)
{
    enum { RUNS = 100 };
    struct bw_error error;
    char ids[RUNS][RUN_ID_SIZE];
    for (int i = 0; i < RUNS; i++)
        snprintf(ids[i], sizeof ids[i], "%024x", (unsigned)i);
    ids[RUNS - 2][0] = 'x'; /* not a valid id */
    assert_int_equal(
        run_store_find(*state, (const char(*)[RUN_ID_SIZE])ids, RUNS, note_run, NULL, &error),
        BW_OK);
    assert_int_equal(fake.sent, 2);
    assert_non_null(strstr(fake.filter, ids[RUNS - 1]));
    assert_null(strstr(fake.filter, ids[RUNS - 2]));
}

/* Only beside the end: until then it may still change. */
static void what_was_foretold_is_stored_with_the_end(void **state)
{
    struct bw_error error;
    const struct foretold_ends foretold = {.list = {{.at_ms = 1, .p50_ms = 2, .p90_ms = 3}},
                                           .count = 1};
    struct run_advance advance = finished;
    advance.foretold = &foretold;
    assert_int_equal(run_store_advance(*state, GOOD_ID, &advance, &error), BW_OK);
    assert_non_null(strstr(fake.update, "\"foretold\" : [ { \"at\" : "));
    advance.phase = RUN_STUDENTS;
    assert_int_equal(run_store_advance(*state, GOOD_ID, &advance, &error), BW_OK);
    assert_null(strstr(fake.update, "foretold"));
    assert_int_equal(run_store_advance(*state, GOOD_ID, &finished, &error), BW_OK);
    assert_null(strstr(fake.update, "foretold"));
}

static void every_write_of_a_run_names_its_id(void **state)
{
    struct run_store *store = *state;
    struct bw_error error;
    const char *id = "{ \"_id\" : { \"$oid\" : \"" GOOD_ID "\" }";
    assert_int_equal(run_store_start(store, GOOD_ID, RUN_PRE, &error), BW_OK);
    assert_int_equal(strncmp(fake.filter, id, strlen(id)), 0);
    assert_int_equal(run_store_advance(store, GOOD_ID, &finished, &error), BW_OK);
    assert_int_equal(strncmp(fake.filter, id, strlen(id)), 0);
    assert_int_equal(run_store_hide(store, GOOD_ID, &error), BW_OK);
    assert_int_equal(strncmp(fake.filter, id, strlen(id)), 0);
    assert_int_equal(run_store_delete(store, GOOD_ID, &error), BW_OK);
    assert_int_equal(strncmp(fake.filter, id, strlen(id)), 0);
    assert_int_equal(fake.sent, 4);
}

static enum commit_outcome completed_as;

static void note_outcome(struct run_commit *commit, enum commit_outcome outcome, const char *first)
{
    (void)commit, (void)first;
    completed_as = outcome;
}

static void run_without_an_id_is_refused_and_not_inserted(void **state)
{
    struct run_commit commit = {.completed = note_outcome};
    run_store_insert(*state, &commit);
    assert_int_equal(completed_as, COMMIT_REFUSED);
    assert_int_equal(fake.sent, 0);
    snprintf(commit.run.id, sizeof commit.run.id, GOOD_ID);
    run_store_insert(*state, &commit);
    assert_int_equal(completed_as, COMMIT_DONE);
    assert_int_equal(fake.sent, 1);
}

/* {untimed_stages absent}: a document of an earlier version. */
static void run_of_an_earlier_version_has_one_stage_without_a_timeout_at_most(void **state)
{
    (void)state;
    struct run run;
    bson_t document = BSON_INITIALIZER;
    bson_oid_t oid;
    bson_oid_init_from_string(&oid, GOOD_ID);
    BSON_APPEND_OID(&document, "_id", &oid);
    BSON_APPEND_UTF8(&document, "state", "students");
    BSON_APPEND_BOOL(&document, "pre_all_timeouts", true);
    BSON_APPEND_BOOL(&document, "student_all_timeouts", false);
    BSON_APPEND_INT32(&document, "post_untimed_stages", 7);
    assert_true(run_from_document(&document, &run));
    assert_int_equal(run.untimed_stages[JOB_PRE], 0);
    assert_int_equal(run.untimed_stages[JOB_STUDENT], 1);
    assert_int_equal(run.untimed_stages[JOB_POST], 7);
    bson_destroy(&document);
}

/* {class, requires, submitter}: what run_from_document reads of them. */
static void assert_scheduling(const char *run_class, const char *requires, const char *submitter,
                              enum run_class expected)
{
    struct run run;
    bson_t document = BSON_INITIALIZER;
    bson_oid_t oid;
    bson_oid_init_from_string(&oid, GOOD_ID);
    BSON_APPEND_OID(&document, "_id", &oid);
    BSON_APPEND_UTF8(&document, "state", "students");
    if (run_class != NULL)
        BSON_APPEND_UTF8(&document, "class", run_class);
    if (requires != NULL)
        BSON_APPEND_UTF8(&document, "requires", requires);
    if (submitter != NULL)
        BSON_APPEND_UTF8(&document, "submitter", submitter);
    assert_true(run_from_document(&document, &run));
    assert_int_equal(run.run_class, expected);
    assert_string_equal(run.submitter, submitter != NULL ? submitter : "");
    if (requires == NULL)
        assert_null(run.requires);
    else
        assert_string_equal(run.requires, requires);
    run_clear(&run);
    assert_null(run.requires);
    bson_destroy(&document);
}

static void class_tags_and_submitter_are_read_or_have_defaults(void **state)
{
    (void)state;
    assert_scheduling("exam", "cpu,gpu", "ann", RUN_CLASS_EXAM);
    assert_scheduling("batch", NULL, NULL, RUN_CLASS_BATCH);
    assert_scheduling(NULL, NULL, NULL, RUN_CLASS_NORMAL);
    assert_scheduling("of a later version", "", NULL, RUN_CLASS_NORMAL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_id_is_not_found_and_nothing_is_sent),
        CASE(many_runs_are_found_in_few_reads),
        CASE(what_was_foretold_is_stored_with_the_end),
        CASE(every_write_of_a_run_names_its_id),
        CASE(run_without_an_id_is_refused_and_not_inserted),
        CASE(protocol_of_a_run_defaults_by_its_course),
        CASE(class_tags_and_submitter_are_read_or_have_defaults),
        CASE(run_of_an_earlier_version_has_one_stage_without_a_timeout_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
