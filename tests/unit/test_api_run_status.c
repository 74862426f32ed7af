#include "api/grading/run_status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define RUN_ID "0123456789abcdef01234567"

enum { STUDENTS = 3, JOBS = STUDENTS + 2 };

struct scene {
    const char *waiting_for;
    struct run run;
    struct definition *definition;
    struct job_fact facts[JOBS]; /* pre, three students, post */
    struct run_view view;
};

static int setup(void **state)
{
    static struct scene scene;
    memset(&scene, 0, sizeof scene);
    scene.run = (struct run){
        .id = RUN_ID, .has_pre = true, .has_post = true, .students = STUDENTS, .created_ms = 1000};
    scene.view = (struct run_view){.with_students = true, .limit = UINT32_MAX};
    json_t *document = json_pack("{s:[{s:s}],s:[{s:s}],s:[{s:s}],s:[{s:s},{s:s},{s:s}],s:{s:s}}",
                                 "preprocessing_pipeline", "image", "a", "student_pipeline",
                                 "image", "b", "postprocessing_pipeline", "image", "c", "students",
                                 "S", "s0", "S", "s1", "S", "s2", "env", "R", "r");
    struct bw_error error;
    enum bw_code code = definition_new(document, &(struct submission_limits){false},
                                       &scene.definition, &error);
    json_decref(document);
    *state = &scene;
    return code == BW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    definition_release(scene->definition);
    return 0;
}

/* Writes the result that the grader of the job in `slot` sent. */
static enum bw_code add_result(void *context, uint32_t slot, struct text_buffer *text,
                               struct bw_error *error)
{
    (void)error;
    (void)context;
    text_buffer_add_new(text, slot == 1 ? json_pack("{s:i}", "grade", 7) : json_null());
    return BW_OK;
}

/* The text of an answer; free(). */
static char *write_answer(const struct scene *scene, const struct definition *definition,
                          int64_t last_result_ms)
{
    struct run_status status = {.run = &scene->run,
                                .definition = definition,
                                .facts = scene->facts,
                                .view = scene->view,
                                .last_result_ms = last_result_ms,
                                .waiting_for = scene->waiting_for,
                                .result = add_result};
    struct text_buffer text = {NULL};
    bool is_last = false;
    while (!is_last)
        assert_int_equal(run_status_write(&status, &text, &is_last, NULL), BW_OK);
    return text_buffer_take(&text);
}

static json_t *parse_answer(const struct scene *scene, const struct definition *definition,
                            int64_t last_result_ms)
{
    char *text = write_answer(scene, definition, last_result_ms);
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(value);
    free(text);
    return value;
}

static json_t *answer(const struct scene *scene)
{
    return parse_answer(scene, scene->definition, 9000);
}

static void assert_text(const json_t *object, const char *key, const char *expected)
{
    assert_string_equal(json_string_value(json_object_get(object, key)), expected);
}

static void assert_integer(const json_t *object, const char *key, json_int_t expected)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    assert_int_equal(json_integer_value(json_object_get(object, key)), expected);
}

/* Statuses as letters, pre, students, post: C, Q, R, F. */
static void assert_statuses(const struct scene *scene, const char *state, const char *expected)
{
    json_t *object = answer(scene);
    char letters[JOBS + 1] = "";
    letters[0] = json_string_value(
        json_object_get(json_object_get(object, "preprocessing_status"), "status"))[0];
    for (size_t i = 0; i < STUDENTS; i++)
        letters[1 + i] = json_string_value(json_object_get(
            json_array_get(json_object_get(object, "student_statuses"), i), "status"))[0];
    letters[JOBS - 1] = json_string_value(
        json_object_get(json_object_get(object, "postprocessing_status"), "status"))[0];
    assert_string_equal(letters, expected);
    assert_text(object, "state", state);
    json_decref(object);
}

static void assert_progress(const struct scene *scene, const int expected[6])
{
    static const char *const names[] = {"total",     "queued", "running",
                                        "succeeded", "failed", "cancelled"};
    json_t *object = answer(scene);
    for (size_t i = 0; i < 6; i++)
        assert_integer(json_object_get(object, "progress"), names[i], expected[i]);
    json_decref(object);
}

static void end(struct job_fact *fact, enum job_outcome outcome)
{
    fact->outcome = outcome;
    fact->attempts = 1;
}

static void statuses_follow_a_run_from_start_to_end(void **state)
{
    struct scene *scene = *state;
    assert_statuses(scene, "created", "CCCCC");
    assert_progress(scene, (int[]){5, 0, 0, 0, 0, 0});
    scene->run.started_ms = 2000;
    assert_statuses(scene, "preprocessing", "QCCCC");
    assert_progress(scene, (int[]){5, 1, 0, 0, 0, 0});
    scene->facts[0].is_live = true;
    assert_statuses(scene, "preprocessing", "RCCCC");
    end(&scene->facts[0], OUTCOME_SUCCEEDED);
    assert_statuses(scene, "students", "FQQQC");
    scene->facts[2].is_live = true;
    end(&scene->facts[1], OUTCOME_FAILED);
    assert_statuses(scene, "students", "FFRQC");
    assert_progress(scene, (int[]){5, 1, 1, 1, 1, 0});
    end(&scene->facts[2], OUTCOME_SUCCEEDED);
    end(&scene->facts[3], OUTCOME_SUCCEEDED);
    assert_statuses(scene, "postprocessing", "FFFFQ");
    end(&scene->facts[4], OUTCOME_SUCCEEDED);
    assert_statuses(scene, "finished", "FFFFF");
    assert_progress(scene, (int[]){5, 0, 0, 4, 1, 0});
}

static void owner_of_a_failure_is_a_key_of_its_job_alone(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 2000;
    end(&scene->facts[0], OUTCOME_SUCCEEDED);
    end(&scene->facts[1], OUTCOME_FAILED);
    end(&scene->facts[2], OUTCOME_FAILED);
    scene->facts[2].owner = OWNER_INFRASTRUCTURE;
    json_t *object = answer(scene);
    const json_t *students = json_object_get(object, "student_statuses");
    assert_null(json_object_get(json_array_get(students, 0), "owner"));
    assert_text(json_array_get(students, 1), "owner", "infrastructure");
    json_decref(object);
}

static void run_has_a_returned_job_while_that_waits(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 2000;
    end(&scene->facts[0], OUTCOME_SUCCEEDED);
    assert_false(run_status_has_returned(&scene->run, scene->facts));
    scene->facts[2].is_returned = true;
    assert_true(run_status_has_returned(&scene->run, scene->facts));
    scene->facts[2].is_live = true;
    assert_false(run_status_has_returned(&scene->run, scene->facts));
    assert_true(run_status_has_queued(&scene->run, scene->facts));
    end(&scene->facts[2], OUTCOME_SUCCEEDED);
    assert_false(run_status_has_returned(&scene->run, scene->facts));
}

static void failed_preprocessing_finishes_every_job_as_cancelled(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 2000;
    end(&scene->facts[0], OUTCOME_FAILED);
    assert_statuses(scene, "failed", "FFFFF");
    assert_progress(scene, (int[]){5, 0, 0, 0, 1, 4});
    json_t *object = answer(scene);
    const json_t *student = json_array_get(json_object_get(object, "student_statuses"), 0);
    assert_text(student, "outcome", "cancelled");
    assert_integer(student, "attempts", 0);
    assert_text(
        object, "finished_at",
        "1970-01-01T00:00:09.000Z"); /* date of the last result: the end is not stored yet */
    json_decref(object);
}

static void stored_end_is_shown(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 2000;
    scene->run.finished_ms = 5000;
    scene->run.phase = RUN_CANCELLED;
    assert_statuses(scene, "cancelled", "FFFFF");
    json_t *object = answer(scene);
    assert_text(object, "created_at", "1970-01-01T00:00:01.000Z");
    assert_text(object, "started_at", "1970-01-01T00:00:02.000Z");
    assert_text(object, "finished_at", "1970-01-01T00:00:05.000Z");
    json_decref(object);
}

static void dates_are_null_until_known(void **state)
{
    struct scene *scene = *state;
    json_t *object = answer(scene);
    assert_true(json_is_null(json_object_get(object, "started_at")));
    assert_true(json_is_null(json_object_get(object, "finished_at")));
    json_decref(object);
}

static void students_show_their_stages_in_order(void **state)
{
    struct scene *scene = *state;
    static const char *const expected[] = {"s0", "s1", "s2"};
    json_t *object = answer(scene);
    const json_t *students = json_object_get(object, "student_statuses");
    assert_int_equal(json_array_size(students), STUDENTS);
    for (size_t i = 0; i < STUDENTS; i++) {
        const json_t *stage = json_array_get(json_object_get(json_array_get(students, i), "stages"),
                                             0);
        assert_text(stage, "image", "b");
        assert_text(json_object_get(stage, "env"), "S", expected[i]);
        assert_text(json_object_get(stage, "env"), "R", "r");
        assert_int_equal(json_object_size(stage), 2);
    }
    assert_text(json_array_get(students, 2), "job_id", RUN_ID "10000002");
    assert_text(json_object_get(object, "preprocessing_status"), "job_id", RUN_ID "00000000");
    assert_text(json_object_get(object, "postprocessing_status"), "job_id", RUN_ID "20000000");
    json_decref(object);
}

static void absent_parts_have_no_key(void **state)
{
    struct scene *scene = *state;
    scene->run.has_pre = scene->run.has_post = false;
    scene->run.started_ms = 2000;
    end(&scene->facts[1], OUTCOME_SUCCEEDED); /* without pre-processing the slots begin with the
                                                 students: 0 and 2 have no result */
    json_t *object = answer(scene);
    assert_null(json_object_get(object, "preprocessing_status"));
    assert_null(json_object_get(object, "postprocessing_status"));
    const json_t *students = json_object_get(object, "student_statuses");
    assert_text(json_array_get(students, 0), "status", "Queued");
    assert_text(json_array_get(students, 1), "status", "Finished");
    assert_integer(json_object_get(object, "progress"), "total", 3);
    json_decref(object);
}

static void run_without_any_job_is_finished_once_started(void **state)
{
    struct scene *scene = *state;
    scene->run.has_pre = scene->run.has_post = false;
    scene->run.students = 0;
    scene->run.started_ms = 2000;
    json_t *object = parse_answer(scene, scene->definition, 0);
    assert_text(object, "state", "finished");
    assert_text(object, "finished_at", "1970-01-01T00:00:02.000Z");
    assert_int_equal(json_array_size(json_object_get(object, "student_statuses")), 0);
    json_decref(object);
}

static void pages_show_a_part_with_total_counts(void **state)
{
    struct scene *scene = *state;
    static const struct {
        uint32_t offset, limit;
        size_t shown;
    } pages[] = {{0, 2, 2},
                 {2, 2, 1},
                 {3, 2, 0},
                 {100, 2, 0},
                 {1, UINT32_MAX, 2},
                 {0, 0, 0},
                 {UINT32_MAX, UINT32_MAX, 0}};
    scene->run.started_ms = 2000;
    end(&scene->facts[0], OUTCOME_SUCCEEDED);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        scene->view.offset = pages[i].offset;
        scene->view.limit = pages[i].limit;
        json_t *object = answer(scene);
        const json_t *students = json_object_get(object, "student_statuses");
        assert_int_equal(json_array_size(students), pages[i].shown);
        assert_integer(json_object_get(object, "progress"), "queued", 3);
        json_decref(object);
    }
}

static void jobs_are_queued_only_between_their_phase_and_their_hand_out(void **state)
{
    struct scene *scene = *state;
    assert_false(run_status_has_queued(&scene->run, scene->facts));
    scene->run.started_ms = 2000;
    assert_true(run_status_has_queued(&scene->run, scene->facts));
    scene->facts[0].is_live = true; /* the other jobs wait for this one, not for a grader */
    assert_false(run_status_has_queued(&scene->run, scene->facts));
    scene->facts[0].is_live = false;
    end(&scene->facts[0], OUTCOME_FAILED);
    assert_false(run_status_has_queued(&scene->run, scene->facts));
}

static void waiting_for_key_exists_only_while_a_run_waits(void **state)
{
    struct scene *scene = *state;
    scene->waiting_for = "nobody is there";
    json_t *object = answer(scene);
    assert_text(object, "waiting_for", "nobody is there");
    json_decref(object);
    scene->waiting_for = NULL;
    object = answer(scene);
    assert_null(json_object_get(object, "waiting_for"));
    json_decref(object);
}

static void students_can_be_left_out(void **state)
{
    struct scene *scene = *state;
    scene->view.with_students = false;
    json_t *object = parse_answer(scene, NULL, 0);
    assert_null(json_object_get(object, "student_statuses"));
    assert_integer(json_object_get(object, "progress"), "total", 5);
    json_decref(object);
}

static void results_are_shown_when_asked_for(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 2000;
    end(&scene->facts[0], OUTCOME_SUCCEEDED);
    end(&scene->facts[1], OUTCOME_SUCCEEDED);
    json_t *object = answer(scene);
    assert_null(
        json_object_get(json_array_get(json_object_get(object, "student_statuses"), 0), "result"));
    json_decref(object);
    scene->view.with_results = true;
    object = answer(scene);
    const json_t *students = json_object_get(object, "student_statuses");
    assert_integer(json_object_get(json_array_get(students, 0), "result"), "grade", 7);
    assert_true(json_is_null(json_object_get(json_array_get(students, 1), "result")));
    json_decref(object);
}

static void the_answer_is_written_in_its_order_of_keys(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 2000;
    end(&scene->facts[0], OUTCOME_FAILED);
    scene->view = (struct run_view){
        .with_students = true, .with_results = true, .offset = 1, .limit = 1};
    char *text = write_answer(scene, scene->definition, 9000);
    assert_string_equal(
        text,
        "{\"student_statuses\":[{\"job_id\":\"" RUN_ID "10000001\",\"stages\":[{\"image\":\"b\","
        "\"env\":{\"R\":\"r\",\"S\":\"s1\"}}],\"student\":{\"index\":1,\"env\":{\"S\":\"s1\"}},"
        "\"status\":\"Finished\",\"outcome\":\"cancelled\","
        "\"attempts\":0,\"result\":\"not run: the job before the students failed\"}],"
        "\"postprocessing_status\":{\"job_id\":\"" RUN_ID "20000000\",\"status\":\"Finished\","
        "\"outcome\":\"cancelled\",\"attempts\":0,"
        "\"result\":\"not run: the job before the students failed\"},"
        "\"preprocessing_status\":{\"job_id\":\"" RUN_ID "00000000\",\"status\":\"Finished\","
        "\"outcome\":\"failed\",\"attempts\":1,\"result\":null},\"state\":\"failed\","
        "\"created_at\":\"1970-01-01T00:00:01.000Z\",\"started_at\":\"1970-01-01T00:00:02.000Z\","
        "\"finished_at\":\"1970-01-01T00:00:09.000Z\",\"progress\":{\"total\":5,\"queued\":0,"
        "\"running\":0,\"succeeded\":0,\"failed\":1,\"cancelled\":4}}");
    free(text);
}

/* Every combination of outcome, live lease and phase gives one status, and progress adds up. */
static void progress_adds_up_in_every_combination(void **state)
{
    struct scene *scene = *state;
    for (unsigned bits = 0; bits < 4 * 4 * 4 * 2 * 2; bits++) {
        memset(scene->facts, 0, sizeof scene->facts);
        scene->facts[0].outcome = (enum job_outcome)(bits & 3);
        scene->facts[1].outcome = scene->facts[2].outcome = (enum job_outcome)(bits >> 2 & 3);
        scene->facts[3].outcome = (enum job_outcome)(bits >> 4 & 3);
        scene->facts[3].is_live = (bits >> 6 & 1) != 0;
        scene->run.started_ms = (bits >> 7 & 1) != 0 ? 2000 : 0;
        json_t *object = answer(scene);
        const json_t *progress = json_object_get(object, "progress");
        bool is_over = run_phase_is_over(run_status_phase(&scene->run, scene->facts));
        json_int_t sum = 0;
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)(uintptr_t)progress, key, value) {
            if (strcmp(key, "total") != 0)
                sum += json_integer_value(value);
        }
        assert_true(is_over ? sum == JOBS : sum <= JOBS);
        json_decref(object);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void assert_students(const struct scene *scene, const char *expected)
{
    char letters[STUDENTS + 1] = "";
    json_t *object = answer(scene), *job;
    size_t index;
    json_array_foreach (json_object_get(object, "student_statuses"), index, job) {
        const json_t *student = json_object_get(job, "student");
        letters[index] = (char)('0' + json_integer_value(json_object_get(student, "index")));
        assert_true(json_is_string(json_object_get(json_object_get(student, "env"), "S")));
    }
    assert_string_equal(letters, expected);
    json_decref(object);
}

static void students_are_filtered_before_they_are_counted(void **state)
{
    struct scene *scene = *state;
    scene->run.started_ms = 1;
    scene->facts[0].outcome = scene->facts[1].outcome = OUTCOME_SUCCEEDED;
    scene->facts[2].outcome = OUTCOME_FAILED;
    scene->facts[3].outcome = OUTCOME_SUCCEEDED;
    assert_students(scene, "012");
    scene->view.outcome = OUTCOME_SUCCEEDED;
    assert_students(scene, "02");
    scene->view.offset = 1;
    assert_students(scene, "2");
    scene->view.offset = 2;
    assert_students(scene, "");
    scene->view.offset = 0;
    scene->view.limit = 1;
    assert_students(scene, "0");
    scene->view.limit = 0;
    assert_students(scene, "");
    scene->view.limit = UINT32_MAX;
    scene->view.student = "S=s2";
    assert_students(scene, "2");
    scene->view.student = "1";
    assert_students(scene, "");
    scene->view.outcome = OUTCOME_NONE;
    assert_students(scene, "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(students_are_filtered_before_they_are_counted),
        CASE(statuses_follow_a_run_from_start_to_end),
        CASE(owner_of_a_failure_is_a_key_of_its_job_alone),
        CASE(run_has_a_returned_job_while_that_waits),
        CASE(failed_preprocessing_finishes_every_job_as_cancelled),
        CASE(stored_end_is_shown),
        CASE(dates_are_null_until_known),
        CASE(students_show_their_stages_in_order),
        CASE(absent_parts_have_no_key),
        CASE(run_without_any_job_is_finished_once_started),
        CASE(pages_show_a_part_with_total_counts),
        CASE(jobs_are_queued_only_between_their_phase_and_their_hand_out),
        CASE(waiting_for_key_exists_only_while_a_run_waits),
        CASE(students_can_be_left_out),
        CASE(results_are_shown_when_asked_for),
        CASE(the_answer_is_written_in_its_order_of_keys),
        CASE(progress_adds_up_in_every_combination),
    };
    return cmocka_run_group_tests_name("run_status", tests, NULL, NULL);
}
