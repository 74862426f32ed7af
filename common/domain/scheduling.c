#include "common/domain/scheduling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/domain/run_terms.h"

enum { SHOWN_SIZE = 80, PATH_SIZE = 128 };

static const struct {
    const char *name;
    unsigned rank;
} run_classes[] = {
#define RUN_CLASS_ROW(class, text, rank) [RUN_CLASS_##class] = {text, rank},
    RUN_CLASS_MAP(RUN_CLASS_ROW)
#undef RUN_CLASS_ROW
};

const char *run_class_name(enum run_class run_class)
{
    return run_classes[run_class].name;
}

bool run_class_find(const char *name, enum run_class *run_class)
{
    for (unsigned i = 0; i < RUN_CLASSES; i++) {
        if (strcmp(run_classes[i].name, name) != 0)
            continue;
        *run_class = (enum run_class)i;
        return true;
    }
    return false;
}

unsigned run_class_rank(enum run_class run_class)
{
    return run_classes[run_class].rank;
}

void scheduling_clear(struct scheduling *scheduling)
{
    for (size_t i = 0; i < scheduling->reservation_count; i++)
        free(scheduling->reservations[i].courses);
    free(scheduling->reservations);
    free(scheduling->shares);
    *scheduling = (struct scheduling){0};
}

static bool reservation_is_same(const struct reservation *one, const struct reservation *other)
{
    bool is_same = strcmp(one->name, other->name) == 0 && strcmp(one->tags, other->tags) == 0 &&
                   one->classes == other->classes && one->course_count == other->course_count &&
                   (one->courses == NULL) == (other->courses == NULL);
    for (size_t i = 0; is_same && i < one->course_count; i++)
        is_same = strcmp(one->courses[i], other->courses[i]) == 0;
    return is_same;
}

bool scheduling_reserves_same(const struct scheduling *one, const struct scheduling *other)
{
    bool is_same = one->reservation_count == other->reservation_count;
    for (size_t i = 0; is_same && i < one->reservation_count; i++)
        is_same = reservation_is_same(&one->reservations[i], &other->reservations[i]);
    return is_same;
}

static bool worker_tags_have(const char *tags, const char *tag, size_t length)
{
    for (const char *at = tags; *at != '\0'; at += *at == ',') {
        size_t own = strcspn(at, ",");
        if (own == length && memcmp(at, tag, length) == 0)
            return true;
        at += own;
    }
    return false;
}

bool worker_tags_include(const char *tags, const char *wanted)
{
    for (const char *at = wanted == NULL ? "" : wanted; *at != '\0'; at += *at == ',') {
        size_t length = strcspn(at, ",");
        if (!worker_tags_have(tags == NULL ? "" : tags, at, length))
            return false;
        at += length;
    }
    return true;
}

bool reservation_allows(const struct reservation *reservation, const char *course,
                        enum run_class run_class)
{
    bool is_listed = reservation->courses == NULL;
    if ((reservation->classes & (1U << run_class)) == 0)
        return false;
    for (size_t i = 0; i < reservation->course_count && !is_listed; i++)
        is_listed = strcmp(reservation->courses[i], course) == 0;
    return is_listed;
}

/* ---- Lists of classes ---- */

enum bw_code run_classes_check(const json_t *value, const char *path, const void *context,
                               struct bw_error *error)
{
    size_t index;
    json_t *name;
    enum bw_code code = json_check_list(value, path, error);
    if (code == BW_OK && json_array_size(value) == 0)
        code = bw_fail(error, BW_BAD_REQUEST, "%s: must have a class at least", path);
    json_array_foreach (value, index, name) {
        char at[PATH_SIZE];
        if (code != BW_OK)
            break;
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        if (json_is_string(name))
            code = run_class_check(name, at, context, error);
        else
            code = bw_fail(error, BW_BAD_REQUEST, "%s: must be a string, not %s", at,
                           json_kind_of(name));
    }
    return code;
}

unsigned run_classes_of(const json_t *list)
{
    unsigned classes = 0;
    size_t index;
    json_t *name;
    json_array_foreach (list, index, name) {
        enum run_class run_class;
        if (json_is_string(name) && run_class_find(json_string_value(name), &run_class))
            classes |= 1U << run_class;
    }
    return classes;
}

json_t *run_classes_list(unsigned classes)
{
    json_t *list = json_array();
    for (unsigned rank = 0; rank < RUN_CLASSES; rank++)
        for (unsigned i = 0; i < RUN_CLASSES; i++)
            if (run_classes[i].rank == rank && (classes & (1U << i)) != 0)
                json_array_append_new(list, json_string(run_classes[i].name));
    return list;
}

/* ---- The fields of a run ---- */

enum bw_code run_class_check(const json_t *value, const char *path, const void *context,
                             struct bw_error *error)
{
    enum run_class run_class;
    char shown[SHOWN_SIZE];
    (void)context;
    if (run_class_find(json_string_value(value), &run_class))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: must be exam, interactive, normal or batch, not '%s'", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

static enum bw_code run_requires_check_tag(const json_t *tag, const char *path,
                                           struct bw_error *error)
{
    if (!json_is_string(tag))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a string, not %s", path,
                       json_kind_of(tag));
    return worker_tag_check(json_string_value(tag), json_string_length(tag), path, error);
}

enum bw_code run_requires_check(const json_t *value, const char *path, const void *context,
                                struct bw_error *error)
{
    size_t index, length = 0;
    json_t *tag;
    (void)context;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    if (json_array_size(value) == 0 || json_array_size(value) > WORKER_TAGS)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have 1 to %d tags, not %zu", path,
                       (int)WORKER_TAGS, json_array_size(value));
    json_array_foreach (value, index, tag) {
        char at[PATH_SIZE];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = run_requires_check_tag(tag, at, error);
        if (code != BW_OK)
            return code;
        length += json_string_length(tag) + 1;
    }
    if (length > WORKER_TAGS_SIZE)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have %d bytes at most, with commas", path,
                       (int)WORKER_TAGS_SIZE - 1);
    return BW_OK;
}

enum bw_code run_submitter_check(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    if (json_string_length(value) == 0 || json_string_length(value) >= SUBMITTER_SIZE)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have 1 to %d bytes, not %zu", path,
                       (int)SUBMITTER_SIZE - 1, json_string_length(value));
    return run_name_check(value, path, context, error); /* the same characters */
}

static int scheduling_compare_tags(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

char *run_requires_text(const json_t *list)
{
    const char *tags[WORKER_TAGS];
    char text[WORKER_TAGS_SIZE] = "";
    size_t index, count = 0, length = 0;
    json_t *tag;
    json_array_foreach (list, index, tag)
        if (count < WORKER_TAGS)
            tags[count++] = json_string_value(tag);
    if (count == 0)
        return NULL;
    qsort(tags, count, sizeof *tags, scheduling_compare_tags);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(tags[i], tags[i - 1]) != 0)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                       i > 0 ? "," : "", tags[i]);
    return bw_copy(text);
}
