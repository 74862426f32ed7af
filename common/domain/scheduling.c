#include "common/domain/scheduling.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

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
