#include "common/domain/submission_size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/course_definition.h"
#include "common/domain/course_submission_check.h"
#include "common/domain/course_submission_size.h"
#include "common/domain/exec_size.h"
#include "common/domain/job_size.h"
#include "common/base/json.h"
#include "common/domain/run_definition.h"

#define RUN "0123456789abcdef01234567"

enum { ROUNDS = 300, LARGE_ROUNDS = 3, MANY = 4 };

static struct bw_error error;

/* ---- Random definitions ---- */

static uint32_t seed;

static uint32_t random_below(uint32_t count)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % count;
}

/* Text with characters that JSON escapes, and others. */
static json_t *random_text(void)
{
    static const char *const parts[] = {"a",    "\"", "\\", "\n", "\t", "\x01", "\x0b",
                                        "\x7f", "/",  "ü",  "€",  "",   "b b",  "\x1f"};
    char text[64] = "";
    size_t length = 0;
    for (uint32_t left = random_below(6); left > 0; left--)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s",
                                   parts[random_below(sizeof parts / sizeof *parts)]);
    return json_string(text);
}

static json_t *random_value(void)
{
    switch (random_below(6)) {
    case 0:
        return json_integer((json_int_t)random_below(100000) - 50000);
    case 1:
        return json_real(random_below(1000) / 8.0);
    case 2:
        return json_pack("[s,n,{s:b}]", "x\"", "key\n", 1);
    case 3:
        return random_below(2) == 0 ? json_null() : json_true();
    default:
        return random_text();
    }
}

/* Literals and references to other envs' variables; all names begin with `names`. */
static json_t *random_env(const char *names, bool refers)
{
    static const char *const references[] = {"$R0", "$R1", "$S0", "$S1"};
    json_t *env = json_object();
    for (uint32_t left = random_below(MANY); left > 0; left--) {
        char name[16];
        snprintf(name, sizeof name, "%s%u", names, random_below(MANY));
        json_object_set_new(env, name,
                            refers && random_below(2) == 0
                                ? json_string(references[random_below(4)])
                                : random_text());
        if (names[0] == 'E' && json_string_value(json_object_get(env, name))[0] == '\0')
            json_object_set_new(env, name, json_string("x"));
    }
    return env;
}

/* Adds the keys that both protocols have, or none. */
static void confine_randomly(json_t *stage)
{
    json_auto_t *keys = json_pack("{s:f, s:i, s:s, s:s, s:b, s:[s]}", "cpus", 0.5, "pids", 64,
                                  "disk", "1g", "user", "1000:staff", "read_only", 1, "secret_env",
                                  "KEY");
    if (random_below(2) == 0)
        assert_int_equal(json_object_update(stage, keys), 0);
}

static json_t *random_stages(bool refers)
{
    json_t *stages = json_array();
    for (uint32_t left = random_below(MANY); left > 0; left--) {
        json_t *stage = json_pack("{s:s}", "image", "i\"mage");
        if (random_below(2) == 0)
            json_object_set_new(stage, "env", random_env("E", refers));
        if (random_below(2) == 0)
            json_object_set_new(stage, "entrypoint", json_pack("[s,s]", "sh\\", "-c\n"));
        confine_randomly(stage);
        json_array_append_new(stages, stage);
    }
    return stages;
}

static json_t *random_env_with(const char *first, const char *names)
{
    json_t *env = random_env(names, false);
    char name[16];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s%d", first, i);
        json_object_set_new(env, name, random_text());
    }
    return env;
}

static json_t *random_definition(void)
{
    bool refers = random_below(2) == 0;
    json_t *students = json_array();
    for (uint32_t left = random_below(MANY); left > 0; left--)
        json_array_append_new(students,
                              refers ? random_env_with("S", "T") : random_env("T", false));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "student_pipeline", random_stages(refers),
                     "preprocessing_pipeline", random_stages(false), "postprocessing_pipeline",
                     random_stages(false), "students", students, "env",
                     refers ? random_env_with("R", "Q") : random_env("Q", false));
}

/* ---- The real sizes of hand-outs ---- */

static size_t stages_bytes(const char *payload, const char *key)
{
    json_auto_t *object = json_loads(payload, 0, NULL);
    const json_t *holder = key != NULL ? json_object_get(object, key) : object;
    return json_dumpb(json_object_get(holder, "stages"), NULL, 0, JSON_COMPACT);
}

static uint64_t expanded_bytes(const struct definition *definition, enum job_kind kind,
                               uint32_t count, uint64_t *largest)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct job_id job = {.run = RUN, .kind = kind, .index = i};
        char *payload;
        assert_int_equal(definition_job_payload(definition, &job, 1, &payload, &error), BW_OK);
        size_t bytes = stages_bytes(payload, NULL);
        *largest = bytes > *largest ? bytes : *largest;
        sum += bytes;
        free(payload);
    }
    return sum;
}

/* The sizes of a definition's run and of its largest job, measured on the hand-outs. */
static void measure(json_t *object, uint64_t *run, uint64_t *job)
{
    struct definition *definition;
    const struct submission_limits none = {false};
    if (definition_new(object, &none, &definition, &error) != BW_OK)
        fail_msg("%s", error.message);
    struct definition_summary summary = definition_summary(definition);
    *run = *job = 0;
    *run += expanded_bytes(definition, JOB_PRE, summary.has_pre, job);
    *run += expanded_bytes(definition, JOB_STUDENT, summary.students, job);
    *run += expanded_bytes(definition, JOB_POST, summary.has_post, job);
    definition_release(definition);
}

static enum bw_code check(json_t *object, uint64_t max_job, uint64_t max_run)
{
    const struct submission_limits limits = {.max_job_bytes = (int64_t)max_job,
                                             .max_run_bytes = (int64_t)max_run};
    struct definition *definition = NULL;
    enum bw_code code = definition_new(object, &limits, &definition, &error);
    definition_release(definition);
    return code;
}

static void size_equals_that_of_the_hand_outs(void **state)
{
    (void)state;
    for (seed = 1; seed <= ROUNDS; seed++) {
        uint32_t kept = seed;
        uint64_t run, job;
        json_auto_t *object = random_definition();
        measure(object, &run, &job);
        if (job > 1) {
            assert_int_equal(check(object, job, 0), BW_OK);
            assert_int_equal(check(object, job - 1, 0), BW_TOO_LARGE);
            assert_int_equal(check(object, 0, run), BW_OK);
            assert_int_equal(check(object, 0, run - 1), BW_TOO_LARGE);
        }
        seed = kept;
    }
}

/* ---- The course protocol ---- */

static json_t *random_course_env(void)
{
    static const char *const names[] = {"A", "B\"", "C", "GRADING_RUN_ID", "ü", "GRADING_JOB_ID"};
    json_t *env = json_object();
    for (uint32_t left = random_below(6); left > 0; left--)
        json_object_set_new(env, names[random_below(6)], random_value());
    return env;
}

static json_t *random_course_stages(void)
{
    json_t *stages = json_array();
    for (uint32_t left = random_below(MANY); left > 0; left--) {
        json_t *stage = json_pack("{s:s}", "image", "i");
        if (random_below(2) == 0)
            json_object_set_new(stage, "env", random_course_env());
        if (random_below(2) == 0)
            json_object_set_new(stage, "logs", json_true());
        confine_randomly(stage);
        json_array_append_new(stages, stage);
    }
    return stages;
}

static json_t *random_course(void)
{
    json_t *students = json_array(), *object = NULL;
    for (uint32_t left = random_below(MANY); left > 0; left--)
        json_array_append_new(students, random_course_env());
    json_auto_t *config = json_pack("{s:o, s:o, s:o}", "student_pipeline", random_course_stages(),
                                    "pre_processing_pipeline", random_course_stages(), "env",
                                    random_below(4) == 0 ? json_null() : random_course_env());
    json_auto_t *run = json_pack("{s:o}", "students_env", students);
    if (json_array_size(json_object_get(config, "pre_processing_pipeline")) > 0)
        json_object_set_new(run, "pre_processing_env", random_course_env());
    assert_int_equal(course_definition_make("c", "a", config, run, &object, &error), BW_OK);
    return object;
}

static uint64_t course_bytes(const json_t *object, enum job_kind kind, size_t count,
                             uint64_t *largest)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        struct job_id job = {.run = RUN, .kind = kind, .index = (uint32_t)i};
        char *payload;
        assert_int_equal(course_job_payload(object, &job, COURSE_GRADER_HTTP, &payload, &error),
                         BW_OK);
        size_t bytes = stages_bytes(payload, "data");
        *largest = bytes > *largest ? bytes : *largest;
        sum += bytes;
        free(payload);
    }
    return sum;
}

static enum bw_code check_course(const json_t *object, uint64_t max_job, uint64_t max_run)
{
    const struct submission_limits limits = {.max_job_bytes = (int64_t)max_job,
                                             .max_run_bytes = (int64_t)max_run};
    return course_submission_check_size(object, &limits, &error);
}

static void size_of_a_courses_run_equals_that_of_its_hand_outs(void **state)
{
    (void)state;
    for (seed = 1; seed <= ROUNDS; seed++) {
        uint32_t kept = seed;
        uint64_t run, job = 0;
        json_auto_t *object = random_course();
        run = course_bytes(object, JOB_PRE,
                           course_definition_pipeline(object, JOB_PRE) != NULL ? 1 : 0, &job);
        run += course_bytes(object, JOB_STUDENT,
                            json_array_size(course_definition_students(object)), &job);
        assert_int_equal(check_course(object, job, 0), BW_OK);
        assert_int_equal(check_course(object, 0, run), BW_OK);
        if (job > 1) {
            assert_int_equal(check_course(object, job - 1, 0), BW_TOO_LARGE);
            assert_int_equal(check_course(object, 0, run - 1), BW_TOO_LARGE);
        }
        seed = kept;
    }
}

/* ---- Programs that can't be started ---- */

static json_t *text_of(size_t length)
{
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\0';
    json_t *value = json_string(text);
    free(text);
    return value;
}

/* Checks a run whose stage refers to a value of `length` bytes by a name of four bytes. */
static enum bw_code check_reference(const char *owner, size_t length)
{
    bool is_run = strcmp(owner, "run") == 0;
    json_t *has = json_pack("{s:o}", "A", text_of(length)), *lacks = json_object();
    json_auto_t *object = json_pack("{s:o, s:[o], s:[{s:s, s:{s:s}}]}", "env", is_run ? has : lacks,
                                    "students", is_run ? lacks : has, "student_pipeline", "image",
                                    "i", "env", "LONG", "$A");
    return check(object, 0, 0);
}

static void entry_may_have_linuxs_maximum_length(void **state)
{
    (void)state;
    static const char *const owners[] = {"run", "student"};
    size_t most = EXEC_STRING_MAX - sizeof "LONG=";
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(check_reference(owners[i], most), BW_OK);
        assert_int_equal(check_reference(owners[i], most + 1), BW_BAD_REQUEST);
        assert_non_null(strstr(error.message, "131073 bytes"));
    }
    json_auto_t *literal = json_pack("{s:[], s:[{s:s, s:{s:o}}]}", "students", "student_pipeline",
                                     "image", "i", "env", "A", text_of(EXEC_STRING_MAX - 3));
    assert_int_equal(check(literal, 0, 0), BW_OK);
    json_t *stage = json_array_get(json_object_get(literal, "student_pipeline"), 0);
    json_object_set_new(json_object_get(stage, "env"), "A", text_of(EXEC_STRING_MAX - 2));
    assert_int_equal(check(literal, 0, 0), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "student_pipeline[0].env.A"));
}

static void argument_may_have_linuxs_maximum_length(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        json_auto_t *object = json_pack("{s:[], s:[{s:s, s:[s,o]}]}", "students",
                                        "student_pipeline", "image", "i", "entrypoint", "sh",
                                        text_of(EXEC_STRING_MAX - 1 + more));
        assert_int_equal(check(object, 0, 0), more == 0 ? BW_OK : BW_BAD_REQUEST);
    }
    assert_non_null(strstr(error.message, "student_pipeline[0].entrypoint[1]: takes 131073 bytes"));
}

static enum bw_code check_config(json_t *value)
{
    json_auto_t *config = json_pack("{s:[{s:s, s:{s:o}}]}", "student_pipeline", "image", "i", "env",
                                    "A", value);
    return json_check(config, course_config_fields, "", &(struct submission_limits){false}, &error);
}

static void entry_of_a_course_counts_as_its_text(void **state)
{
    (void)state;
    size_t most = EXEC_STRING_MAX - sizeof "A=";
    assert_int_equal(check_config(text_of(most)), BW_OK);
    assert_int_equal(check_config(text_of(most + 1)), BW_BAD_REQUEST);
    assert_int_equal(check_config(json_pack("[o]", text_of(most - 4))), BW_OK);
    assert_int_equal(check_config(json_pack("[o]", text_of(most - 3))), BW_BAD_REQUEST);
}

/* Arguments of nearly 2 MiB, the last one of `length` bytes. */
static void fill_arguments(json_t *stage, size_t length)
{
    json_t *arguments = json_array();
    for (int i = 0; i < 16; i++)
        json_array_append_new(arguments, text_of(120000));
    json_array_append_new(arguments, text_of(length));
    json_object_set_new(stage, "entrypoint", arguments);
}

static size_t strings_bytes(const json_t *list)
{
    size_t index, bytes = 0;
    json_t *item;
    json_array_foreach (list, index, item)
        bytes += json_string_length(item) + 1 + sizeof(char *);
    return bytes;
}

/* The size for starting a stage's program, from the payload that the grader gets. */
static size_t handed_bytes(const char *payload, const char *key, size_t stage)
{
    json_auto_t *object = json_loads(payload, 0, NULL);
    const json_t *holder = key != NULL ? json_object_get(object, key) : object;
    const json_t *handed = json_array_get(json_object_get(holder, "stages"), stage);
    json_t *env = json_object_get(handed, "env"), *value;
    const char *name;
    size_t bytes = strings_bytes(json_object_get(handed, "entrypoint")) + strings_bytes(env);
    json_object_foreach (env, name, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        bytes += strlen(name) + 1 + 1 + sizeof(char *);
        bytes += json_is_string(value) ? json_string_length(value) : strlen(text);
        free(text);
    }
    return bytes;
}

static size_t classic_bytes(json_t *object, size_t stage)
{
    struct definition *definition;
    const struct submission_limits none = {false};
    size_t most = 0, count = json_array_size(json_object_get(object, "students"));
    assert_int_equal(definition_new(object, &none, &definition, &error), BW_OK);
    for (size_t i = 0; i < count; i++) {
        struct job_id job = {.run = RUN, .kind = JOB_STUDENT, .index = (uint32_t)i};
        char *payload;
        assert_int_equal(definition_job_payload(definition, &job, 1, &payload, &error), BW_OK);
        size_t bytes = handed_bytes(payload, NULL, stage);
        most = bytes > most ? bytes : most;
        free(payload);
    }
    definition_release(definition);
    return most;
}

static size_t course_handed_bytes(const json_t *object, size_t stage)
{
    size_t most = 0, count = json_array_size(course_definition_students(object));
    for (size_t i = 0; i < count; i++) {
        struct job_id job = {.run = RUN, .kind = JOB_STUDENT, .index = (uint32_t)i};
        char *payload;
        assert_int_equal(course_job_payload(object, &job, COURSE_GRADER_HTTP, &payload, &error),
                         BW_OK);
        size_t bytes = handed_bytes(payload, "data", stage);
        most = bytes > most ? bytes : most;
        free(payload);
    }
    return most;
}

static void expect_refusal(enum bw_code code, size_t stage)
{
    char where[64];
    snprintf(where, sizeof where, "student_pipeline[%zu], student ", stage);
    assert_int_equal(code, BW_BAD_REQUEST);
    assert_memory_equal(error.message, where, strlen(where));
    assert_non_null(strstr(error.message, "take 2031617 bytes"));
}

static void stage_may_have_the_maximum_size_of_arguments(void **state)
{
    (void)state;
    uint32_t tried = 0;
    for (uint32_t round = 1; round <= LARGE_ROUNDS; round++) {
        seed = round;
        json_auto_t *object = random_definition();
        const json_t *pipeline = json_object_get(object, "student_pipeline");
        size_t stages = json_array_size(pipeline);
        if (stages == 0 || json_array_size(json_object_get(object, "students")) == 0)
            continue;
        size_t at = random_below((uint32_t)stages);
        fill_arguments(json_array_get(pipeline, at), 0);
        size_t room = EXEC_TOTAL_MAX - classic_bytes(object, at);
        fill_arguments(json_array_get(pipeline, at), room);
        assert_int_equal(check(object, 0, 0), BW_OK);
        fill_arguments(json_array_get(pipeline, at), room + 1);
        expect_refusal(check(object, 0, 0), at);
        tried++;
    }
    assert_int_not_equal(tried, 0);
}

static void stage_of_a_course_may_have_the_maximum_size_of_arguments(void **state)
{
    (void)state;
    uint32_t tried = 0;
    for (uint32_t round = 1; round <= LARGE_ROUNDS; round++) {
        seed = round;
        json_auto_t *object = random_course();
        const json_t *pipeline = course_definition_pipeline(object, JOB_STUDENT);
        size_t stages = json_array_size(pipeline);
        if (stages == 0 || json_array_size(course_definition_students(object)) == 0)
            continue;
        size_t at = random_below((uint32_t)stages);
        fill_arguments(json_array_get(pipeline, at), 0);
        size_t room = EXEC_TOTAL_MAX - course_handed_bytes(object, at);
        fill_arguments(json_array_get(pipeline, at), room);
        assert_int_equal(check_course(object, 0, 0), BW_OK);
        fill_arguments(json_array_get(pipeline, at), room + 1);
        expect_refusal(check_course(object, 0, 0), at);
        tried++;
    }
    assert_int_not_equal(tried, 0);
}

static void the_refusal_names_the_stage_the_student_and_the_size(void **state)
{
    (void)state;
    json_auto_t *object = json_pack("{s:[{},{s:o}], s:[{s:s}, {s:s, s:{s:s, s:s}}]}", "students",
                                    "BIG", text_of(1000), "student_pipeline", "image", "i", "image",
                                    "i", "env", "X", "x", "BIG", "x");
    assert_int_equal(check(object, 1500, 0), BW_TOO_LARGE);
    assert_non_null(
        strstr(error.message, "student_pipeline[1].env, student 1: the job's stages take "));
    assert_non_null(strstr(error.message, "the limit is 1500 (--max-job-bytes)"));
    assert_int_equal(check(object, 0, 2000), BW_TOO_LARGE);
    assert_non_null(strstr(error.message, "student_pipeline[1].env: the stages of all jobs"));
    assert_non_null(strstr(error.message, "the limit is 2000 (--max-run-bytes)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_equals_that_of_the_hand_outs),
        cmocka_unit_test(size_of_a_courses_run_equals_that_of_its_hand_outs),
        cmocka_unit_test(entry_may_have_linuxs_maximum_length),
        cmocka_unit_test(argument_may_have_linuxs_maximum_length),
        cmocka_unit_test(entry_of_a_course_counts_as_its_text),
        cmocka_unit_test(stage_may_have_the_maximum_size_of_arguments),
        cmocka_unit_test(stage_of_a_course_may_have_the_maximum_size_of_arguments),
        cmocka_unit_test(the_refusal_names_the_stage_the_student_and_the_size),
    };
    return cmocka_run_group_tests_name("job_size", tests, NULL, NULL);
}
