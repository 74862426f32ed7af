#include "common/domain/run_files.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/domain/file_entry.h"

enum { AT_SIZE = 64, LIST_SIZE = 40 };

#define FILES "files"
#define STUDENT_FILES "student_files"

struct run_files run_files_of(const json_t *object)
{
    return (struct run_files){json_object_get(object, FILES),
                              json_object_get(object, STUDENT_FILES)};
}

/* ---- Entries ---- */

enum bw_code run_files_check_list(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error)
{
    size_t index;
    json_t *item;
    (void)context;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, item) {
        char at[AT_SIZE];
        struct file_entry entry;
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = file_entry_read(item, at, &entry, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

enum bw_code run_files_check_lists(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error)
{
    size_t index;
    json_t *list;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, list) {
        char at[AT_SIZE];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = run_files_check_list(list, at, context, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

/* ---- Paths of a job ---- */

/* A list's paths, sorted so that what is in a directory comes right after the directory. */
struct path_list {
    const char **paths;
    size_t count;
};

/* '/' comes before every other character of a path. */
static int path_rank(char character)
{
    return character == '/' ? 1 : (unsigned char)character;
}

static int compare_paths(const char *left, const char *right)
{
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return path_rank(*left) - path_rank(*right);
}

static int compare_path_pointers(const void *left, const void *right)
{
    return compare_paths(*(const char *const *)left, *(const char *const *)right);
}

static struct path_list path_list_make(const json_t *entries)
{
    size_t index;
    json_t *entry;
    struct path_list list = {.paths = bw_alloc_array(json_array_size(entries), sizeof *list.paths)};
    json_array_foreach (entries, index, entry)
        list.paths[list.count++] = json_string_value(json_object_get(entry, "path"));
    qsort(list.paths, list.count, sizeof *list.paths, compare_path_pointers);
    return list;
}

/* Whether `path` is `other`, or a directory above it. */
static bool path_holds(const char *path, const char *other)
{
    size_t length = strlen(path);
    return strncmp(path, other, length) == 0 && (other[length] == '\0' || other[length] == '/');
}

static enum bw_code refuse_paths(const char *where, const char *path, const char *other,
                                 struct bw_error *error)
{
    char shown[128], shown_other[128];
    text_show(path, shown, sizeof shown);
    if (strcmp(path, other) == 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: two files of one job have the path '%s'", where,
                       shown);
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: '%s' can't be a file, since '%s' of the same job is in it", where, shown,
                   text_show(other, shown_other, sizeof shown_other));
}

/* No path of the list is in another one's way. */
static enum bw_code path_list_check(const struct path_list *list, const char *where,
                                    struct bw_error *error)
{
    for (size_t i = 1; i < list->count; i++)
        if (path_holds(list->paths[i - 1], list->paths[i]))
            return refuse_paths(where, list->paths[i - 1], list->paths[i], error);
    return BW_OK;
}

/* The number of paths in the list that are less than `path`. */
static size_t path_list_position(const struct path_list *list, const char *path)
{
    size_t from = 0, to = list->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare_paths(list->paths[middle], path) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The path is in no one's way in the list, which was checked: only its neighbours can be. */
static enum bw_code path_list_check_with(const struct path_list *list, const char *path,
                                         const char *where, struct bw_error *error)
{
    size_t position = path_list_position(list, path);
    if (position > 0 && path_holds(list->paths[position - 1], path))
        return refuse_paths(where, list->paths[position - 1], path, error);
    if (position < list->count && path_holds(path, list->paths[position]))
        return refuse_paths(where, path, list->paths[position], error);
    return BW_OK;
}

static enum bw_code check_student(const struct path_list *common, const json_t *entries,
                                  const char *where, struct bw_error *error)
{
    if (common->count + json_array_size(entries) > FILE_ENTRIES_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "%s: a job must have at most %d files, not %zu",
                       where, (int)FILE_ENTRIES_MAX, common->count + json_array_size(entries));
    struct path_list own = path_list_make(entries);
    enum bw_code code = path_list_check(&own, where, error);
    for (size_t i = 0; code == BW_OK && i < own.count; i++)
        code = path_list_check_with(common, own.paths[i], where, error);
    free(own.paths);
    return code;
}

static const char *student_place(size_t student, char place[LIST_SIZE])
{
    snprintf(place, LIST_SIZE, STUDENT_FILES "[%zu]", student);
    return place;
}

enum bw_code run_files_check_jobs(const struct run_files *files, size_t students,
                                  struct bw_error *error)
{
    size_t index, lists = json_array_size(files->student_files);
    json_t *entries;
    char place[LIST_SIZE];
    if (files->student_files != NULL && lists != students)
        return bw_fail(error, BW_BAD_REQUEST,
                       STUDENT_FILES ": must have one list per student: there are %zu lists and "
                                     "%zu students",
                       lists, students);
    if (json_array_size(files->files) > FILE_ENTRIES_MAX)
        return bw_fail(error, BW_BAD_REQUEST, FILES ": must have at most %d items, not %zu",
                       (int)FILE_ENTRIES_MAX, json_array_size(files->files));
    struct path_list common = path_list_make(files->files);
    enum bw_code code = path_list_check(&common, FILES, error);
    json_array_foreach (files->student_files, index, entries)
        if (code == BW_OK)
            code = check_student(&common, entries, student_place(index, place), error);
    free(common.paths);
    return code;
}

/* ---- All entries ---- */

/* Calls `each` for the entries of all lists, in order, with the place of their list. */
struct entry_walk {
    bool (*each)(struct entry_walk *walk, const char *list, size_t index, json_t *entry);
    size_t number; /* of the entry, in all lists */
    void *context;
};

/* False: `each` has ended the walk. */
static bool walk_list(struct entry_walk *walk, const json_t *entries, const char *list)
{
    size_t index;
    json_t *entry;
    json_array_foreach (entries, index, entry) {
        if (!walk->each(walk, list, index, entry))
            return false;
        walk->number++;
    }
    return true;
}

static void walk_all(struct entry_walk *walk, const struct run_files *files)
{
    size_t index;
    json_t *entries;
    char place[LIST_SIZE];
    bool goes_on = walk_list(walk, files->files, FILES);
    json_array_foreach (files->student_files, index, entries)
        goes_on = goes_on && walk_list(walk, entries, student_place(index, place));
}

size_t run_files_count(const struct run_files *files)
{
    size_t index, count = json_array_size(files->files);
    json_t *entries;
    json_array_foreach (files->student_files, index, entries)
        count += json_array_size(entries);
    return count;
}

static bool take_digest(struct entry_walk *walk, const char *list, size_t index, json_t *entry)
{
    char(*hex)[SHA256_TEXT_SIZE] = walk->context;
    struct file_entry read;
    (void)list, (void)index;
    hex[walk->number][0] = '\0';
    if (file_entry_load(entry, &read))
        memcpy(hex[walk->number], read.hex, sizeof read.hex);
    return true;
}

void run_files_digests(const struct run_files *files, char (*hex)[SHA256_TEXT_SIZE])
{
    struct entry_walk walk = {.each = take_digest, .context = hex};
    walk_all(&walk, files);
}

/* ---- Sizes ---- */

struct size_check {
    const int64_t *sizes;
    const char *course;
    struct bw_error *error;
    enum bw_code code;
};

static bool check_stored(struct entry_walk *walk, const char *list, size_t index, json_t *entry)
{
    struct size_check *check = walk->context;
    if (check->sizes[walk->number] >= 0)
        return true;
    check->code = bw_fail(check->error, BW_BAD_REQUEST,
                          "%s[%zu]: the file %s is not stored here: send it first by "
                          "POST /api/v1/files%s%s",
                          list, index, json_string_value(json_object_get(entry, "digest")),
                          check->course[0] != '\0' ? "/" : "", check->course);
    return false;
}

static int64_t sum_sizes(const int64_t *sizes, size_t count)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += sizes[i];
    return sum;
}

static enum bw_code check_sum(const char *list, int64_t bytes, int64_t limit,
                              struct bw_error *error)
{
    if (limit <= 0 || bytes <= limit)
        return BW_OK;
    return bw_fail(error, BW_TOO_LARGE,
                   "%s: the files of a job take %lld bytes together, the limit is %lld", list,
                   (long long)bytes, (long long)limit);
}

static enum bw_code check_sums(const struct run_files *files, const int64_t *sizes, int64_t limit,
                               struct bw_error *error)
{
    size_t index, count = json_array_size(files->files);
    json_t *entries;
    char place[LIST_SIZE];
    int64_t common = sum_sizes(sizes, count);
    enum bw_code code = check_sum(FILES, common, limit, error);
    json_array_foreach (files->student_files, index, entries) {
        sizes += count;
        count = json_array_size(entries);
        if (code == BW_OK)
            code = check_sum(student_place(index, place), common + sum_sizes(sizes, count), limit,
                             error);
    }
    return code;
}

enum bw_code run_files_check_sizes(const struct run_files *files, const int64_t *sizes,
                                   int64_t limit, const char *course, struct bw_error *error)
{
    struct size_check check = {.sizes = sizes, .course = course, .error = error, .code = BW_OK};
    struct entry_walk walk = {.each = check_stored, .context = &check};
    walk_all(&walk, files);
    return check.code == BW_OK ? check_sums(files, sizes, limit, error) : check.code;
}

static bool set_size(struct entry_walk *walk, const char *list, size_t index, json_t *entry)
{
    const int64_t *sizes = walk->context;
    (void)list, (void)index;
    json_object_set_new(entry, "size", json_integer(sizes[walk->number]));
    return true;
}

void run_files_set_sizes(const struct run_files *files, const int64_t *sizes)
{
    struct entry_walk walk = {.each = set_size, .context = (void *)(uintptr_t)sizes};
    walk_all(&walk, files);
}

/* ---- A part of the students ---- */

/* A new list of the entries, without sizes: other threads may read the stored ones. */
static json_t *run_files_copy(const json_t *entries)
{
    size_t index;
    json_t *entry, *list = json_array();
    json_array_foreach (entries, index, entry) {
        json_t *copy = json_copy(entry);
        json_object_del(copy, "size");
        json_array_append_new(list, copy);
    }
    return list;
}

void run_files_select(json_t *object, const uint32_t *selected, uint32_t count)
{
    const struct run_files files = run_files_of(object);
    json_t *lists = json_array();
    for (uint32_t i = 0; i < count && files.student_files != NULL; i++)
        json_array_append_new(lists,
                              run_files_copy(json_array_get(files.student_files, selected[i])));
    if (files.student_files != NULL)
        json_object_set(object, STUDENT_FILES, lists);
    json_decref(lists);
    if (files.files != NULL)
        json_object_set_new(object, FILES, run_files_copy(files.files));
}

/* ---- A job ---- */

static void run_files_hand_out(json_t *list, const json_t *entries)
{
    size_t index;
    json_t *entry;
    json_array_foreach (entries, index, entry) {
        struct file_entry read;
        char digest[FILE_DIGEST_SIZE];
        if (!file_entry_load(entry, &read))
            continue;
        const json_t *size = json_object_get(entry, "size");
        char *path = bw_format("input/%s", read.path);
        json_t *row = json_pack("{s:s,s:s}", "path", path, "digest",
                                file_digest_format(read.hex, digest));
        free(path);
        if (json_is_integer(size))
            json_object_set_new(row, "size", json_integer(json_integer_value(size)));
        if (read.is_unpacked)
            json_object_set_new(row, "unpack", json_true());
        json_array_append_new(list, row);
    }
}

json_t *run_files_of_job(const struct run_files *files, const struct job_id *job)
{
    json_t *list = json_array();
    run_files_hand_out(list, files->files);
    if (job->kind == JOB_STUDENT)
        run_files_hand_out(list, json_array_get(files->student_files, job->index));
    if (json_array_size(list) > 0)
        return list;
    json_decref(list);
    return NULL;
}
