#include "common/domain/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

void history_sample_clear(struct history_sample *sample)
{
    free(sample->courses);
    memset(sample, 0, sizeof *sample);
}

struct history_course *history_sample_add(struct history_sample *sample, enum protocol protocol,
                                          const char *name)
{
    if (sample->count == sample->room) {
        sample->room = sample->room * 2 + 16;
        sample->courses = bw_grow(sample->courses, sample->room, sizeof *sample->courses);
    }
    struct history_course *added = &sample->courses[sample->count++];
    *added = (struct history_course){.protocol = protocol};
    snprintf(added->name, sizeof added->name, "%s", name);
    return added;
}

/* The course's entry, which is appended if it is missing. */
static struct history_course *history_sample_course(struct history_sample *sample,
                                                    enum protocol protocol, const char *name)
{
    for (size_t i = 0; i < sample->count; i++)
        if (sample->courses[i].protocol == protocol && strcmp(sample->courses[i].name, name) == 0)
            return &sample->courses[i];
    return history_sample_add(sample, protocol, name);
}

static uint64_t history_load_size(const struct history_load *load)
{
    uint64_t size = load->queued + load->running + load->handed_out;
    for (unsigned i = 0; i < OUTCOMES; i++)
        size += load->results[i];
    return size;
}

static void history_load_add_counts(struct history_load *load, const struct history_load *more)
{
    load->handed_out += more->handed_out;
    for (unsigned i = 0; i < OUTCOMES; i++)
        load->results[i] += more->results[i];
}

/* The load of both at the same time. */
static void history_load_add(struct history_load *load, const struct history_load *more)
{
    history_load_add_counts(load, more);
    load->queued += more->queued;
    load->running += more->running;
    load->oldest_ms = more->oldest_ms > load->oldest_ms ? more->oldest_ms : load->oldest_ms;
}

/* The load of one time after the other. */
static void history_load_follow(struct history_load *load, const struct history_load *later)
{
    history_load_add_counts(load, later);
    load->queued = later->queued;
    load->running = later->running;
    load->oldest_ms = later->oldest_ms;
}

static int history_course_compare(const void *left, const void *right)
{
    const struct history_course *one = left, *other = right;
    uint64_t size = history_load_size(&one->load), other_size = history_load_size(&other->load);
    if (size != other_size)
        return size > other_size ? -1 : 1;
    if (one->protocol != other->protocol)
        return one->protocol < other->protocol ? -1 : 1;
    return strcmp(one->name, other->name);
}

void history_sample_bound(struct history_sample *sample)
{
    if (sample->count > 0)
        qsort(sample->courses, sample->count, sizeof *sample->courses, history_course_compare);
    while (sample->count > 0 && history_load_size(&sample->courses[sample->count - 1].load) == 0)
        sample->count--;
    while (sample->count > HISTORY_COURSES_MAX) {
        history_load_add(&sample->others, &sample->courses[--sample->count].load);
        sample->other_courses++;
    }
}

void history_sample_merge(struct history_sample *sample, const struct history_sample *later)
{
    static const struct history_load none;
    size_t earlier = sample->count;
    for (size_t i = 0; i < earlier; i++) {
        struct history_load *load = &sample->courses[i].load;
        load->queued = load->running = 0;
        load->oldest_ms = 0;
    }
    for (size_t i = 0; i < later->count; i++) {
        const struct history_course *course = &later->courses[i];
        history_load_follow(&history_sample_course(sample, course->protocol, course->name)->load,
                            &course->load);
    }
    history_load_follow(&sample->others, later->other_courses > 0 ? &later->others : &none);
    if (later->other_courses > sample->other_courses)
        sample->other_courses = later->other_courses;
    duration_buckets_merge(&sample->waits, &later->waits);
    sample->graders = later->graders;
    sample->at_ms = later->at_ms;
    sample->term = later->term;
}
