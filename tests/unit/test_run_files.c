#include "common/domain/run_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/file_entry.h"

#define RUN "0123456789abcdef01234567"

static struct bw_error error;

/* An entry whose digest is 64 times `digit`. */
static json_t *entry(const char *path, char digit)
{
    char text[FILE_DIGEST_SIZE], hex[SHA256_TEXT_SIZE];
    memset(hex, digit, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    return json_pack("{s:s,s:s}", "path", path, "digest", file_digest_format(hex, text));
}

/* A list of entries with these paths, separated by spaces. */
static json_t *list_of(const char *paths)
{
    json_t *list = json_array();
    char *copy = strdup(paths), *rest = copy, *path;
    while ((path = strtok_r(rest, " ", &rest)) != NULL)
        json_array_append_new(list, entry(path, 'a'));
    free(copy);
    return list;
}

/* Checks a run with these common files and those of one student. */
static enum bw_code check_paths(const char *common, const char *own)
{
    json_t *object = json_pack("{s:o,s:[o]}", "files", list_of(common), "student_files",
                               list_of(own));
    const struct run_files files = run_files_of(object);
    enum bw_code code = run_files_check_jobs(&files, 1, &error);
    json_decref(object);
    return code;
}

static void paths_of_a_job_that_do_not_meet_are_accepted(void **state)
{
    (void)state;
    assert_int_equal(check_paths("", ""), BW_OK);
    assert_int_equal(check_paths("a b/c b/d b.c bc", "b/e ab a.b a-b c/a"), BW_OK);
}

static void paths_of_a_job_that_meet_are_refused(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a b a", ""},    {"", "a b a"},     {"a a/b", ""},      {"a/b/c a.b a", ""},
        {"a b c", "b"},   {"a b c", "b/x"},  {"a b/c/d z", "b"}, {"a b/c/d z", "b/c"},
        {"b b-c", "b/y"}, {"", "x/y x.z x"}, {"a/a a/c", "a"},   {"m/n", "m/n/o"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_int_equal(check_paths(pairs[i][0], pairs[i][1]), BW_BAD_REQUEST);
    assert_int_equal(check_paths("a b", "b/x"), BW_BAD_REQUEST);
    assert_string_equal(
        error.message,
        "student_files[0]: 'b' can't be a file, since 'b/x' of the same job is in it");
    assert_int_equal(check_paths("b b", ""), BW_BAD_REQUEST);
    assert_string_equal(error.message, "files: two files of one job have the path 'b'");
}

static void students_and_lists_must_be_as_many(void **state)
{
    (void)state;
    json_t *object = json_pack("{s:[[],[]]}", "student_files");
    const struct run_files files = run_files_of(object);
    assert_int_equal(run_files_check_jobs(&files, 2, &error), BW_OK);
    assert_int_equal(run_files_check_jobs(&files, 3, &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "student_files: must have one list per student: there are 2 "
                                       "lists and 3 students");
    json_decref(object);
}

/* A list with `count` files of different paths. */
static json_t *many_files(const char *prefix, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        char path[32];
        snprintf(path, sizeof path, "%s%d", prefix, i);
        json_array_append_new(list, entry(path, 'a'));
    }
    return list;
}

static enum bw_code check_counts(int common, int own)
{
    json_t *object = json_pack("{s:o,s:[o]}", "files", many_files("c", common), "student_files",
                               many_files("s", own));
    const struct run_files files = run_files_of(object);
    enum bw_code code = run_files_check_jobs(&files, 1, &error);
    json_decref(object);
    return code;
}

static void job_has_a_limit_of_files(void **state)
{
    (void)state;
    assert_int_equal(check_counts(FILE_ENTRIES_MAX, 0), BW_OK);
    assert_int_equal(check_counts(FILE_ENTRIES_MAX - 1, 1), BW_OK);
    assert_int_equal(check_counts(FILE_ENTRIES_MAX, 1), BW_BAD_REQUEST);
    assert_string_equal(error.message,
                        "student_files[0]: a job must have at most 1000 files, not 1001");
    assert_int_equal(check_counts(FILE_ENTRIES_MAX + 1, 0), BW_BAD_REQUEST);
}

static void wrong_values_are_refused_with_their_place(void **state)
{
    (void)state;
    json_t *value = json_pack("[[],[{s:s}]]", "path", "a");
    assert_int_equal(run_files_check_lists(value, "student_files", NULL, &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "student_files[1][0]"));
    assert_int_equal(run_files_check_list(value, "files", NULL, &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "files[0]"));
    json_decref(value);
    value = json_null();
    assert_int_equal(run_files_check_list(value, "files", NULL, &error), BW_BAD_REQUEST);
    assert_int_equal(run_files_check_lists(value, "student_files", NULL, &error), BW_BAD_REQUEST);
}

/* files: a, b; student_files: [c], [] */
static json_t *run_object(void)
{
    json_t *first = entry("a", 'a'), *second = entry("b", 'b'), *third = entry("w.tar", 'c');
    json_object_set_new(third, "unpack", json_true());
    return json_pack("{s:[o,o],s:[[o],[]]}", "files", first, second, "student_files", third);
}

static void digests_are_in_order(void **state)
{
    (void)state;
    json_t *object = run_object();
    const struct run_files files = run_files_of(object);
    char hex[3][SHA256_TEXT_SIZE];
    assert_int_equal(run_files_count(&files), 3);
    run_files_digests(&files, hex);
    assert_true(hex[0][0] == 'a' && hex[1][0] == 'b' && hex[2][0] == 'c');
    json_decref(object);
}

static void missing_file_is_named_with_the_place_to_send_it_to(void **state)
{
    (void)state;
    json_t *object = run_object();
    const struct run_files files = run_files_of(object);
    const int64_t sizes[] = {1, 2, -1};
    assert_int_equal(run_files_check_sizes(&files, sizes, 0, "cs225", &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "student_files[0][0]: the file sha256:cccc"));
    assert_non_null(strstr(error.message, "send it first by POST /api/v1/files/cs225"));
    json_decref(object);
}

static void files_of_one_job_have_a_limit_together(void **state)
{
    (void)state;
    json_t *object = run_object();
    const struct run_files files = run_files_of(object);
    const int64_t sizes[] = {10, 20, 30};
    assert_int_equal(run_files_check_sizes(&files, sizes, 60, "", &error), BW_OK);
    assert_int_equal(run_files_check_sizes(&files, sizes, 59, "", &error), BW_TOO_LARGE);
    assert_string_equal(
        error.message,
        "student_files[0]: the files of a job take 60 bytes together, the limit is 59");
    assert_int_equal(run_files_check_sizes(&files, sizes, 29, "", &error), BW_TOO_LARGE);
    assert_non_null(strstr(error.message, "files: the files of a job take 30 bytes"));
    json_decref(object);
}

static void assert_hand_out(const struct run_files *files, enum job_kind kind, uint32_t index,
                            const char *paths)
{
    const struct job_id job = {.run = RUN, .kind = kind, .index = index};
    json_t *list = run_files_of_job(files, &job);
    char text[256] = "";
    size_t number;
    json_t *row;
    json_array_foreach (list, number, row)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%d%s ",
                 json_string_value(json_object_get(row, "path")),
                 (int)json_integer_value(json_object_get(row, "size")),
                 json_is_true(json_object_get(row, "unpack")) ? "u" : "");
    assert_string_equal(text, paths);
    json_decref(list);
}

static void job_gets_the_common_files_and_its_students(void **state)
{
    (void)state;
    json_t *object = run_object();
    const struct run_files files = run_files_of(object);
    const int64_t sizes[] = {1, 2, 3};
    run_files_set_sizes(&files, sizes);
    assert_hand_out(&files, JOB_STUDENT, 0, "input/a:1 input/b:2 input/w.tar:3u ");
    assert_hand_out(&files, JOB_STUDENT, 1, "input/a:1 input/b:2 ");
    assert_hand_out(&files, JOB_PRE, 0, "input/a:1 input/b:2 ");
    assert_hand_out(&files, JOB_POST, 0, "input/a:1 input/b:2 ");
    json_decref(object);
}

static void job_without_files_has_no_list(void **state)
{
    (void)state;
    json_t *object = json_pack("{s:[],s:[[]]}", "files", "student_files");
    const struct run_files files = run_files_of(object);
    const struct job_id job = {.run = RUN, .kind = JOB_STUDENT};
    assert_null(run_files_of_job(&files, &job));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_of_a_job_that_do_not_meet_are_accepted),
        cmocka_unit_test(paths_of_a_job_that_meet_are_refused),
        cmocka_unit_test(students_and_lists_must_be_as_many),
        cmocka_unit_test(job_has_a_limit_of_files),
        cmocka_unit_test(wrong_values_are_refused_with_their_place),
        cmocka_unit_test(digests_are_in_order),
        cmocka_unit_test(missing_file_is_named_with_the_place_to_send_it_to),
        cmocka_unit_test(files_of_one_job_have_a_limit_together),
        cmocka_unit_test(job_gets_the_common_files_and_its_students),
        cmocka_unit_test(job_without_files_has_no_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
