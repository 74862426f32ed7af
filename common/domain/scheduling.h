/*
 * scheduling: what operators and course staff say about the order of jobs: the class of a run, the
 * share of a course, and which graders are reserved. docs/scheduling.md explains how they work
 * together; scheduler/state/queue.h is where they decide. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_SCHEDULING_H
#define COMMON_DOMAIN_SCHEDULING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/domain/job.h"
#include "common/domain/worker_tags.h"

/* X(class, name in JSON and flags, rank): a class of a lower rank goes before all of a higher one,
 * whichever courses they are of. What is not stated is normal. */
#define RUN_CLASS_MAP(X)             \
    X(NORMAL, "normal", 2)           \
    X(EXAM, "exam", 0)               \
    X(INTERACTIVE, "interactive", 1) \
    X(BATCH, "batch", 3)

enum run_class {
#define RUN_CLASS_ENUM(name, text, rank) RUN_CLASS_##name,
    RUN_CLASS_MAP(RUN_CLASS_ENUM)
#undef RUN_CLASS_ENUM
        RUN_CLASSES
};

enum {
    RUN_CLASSES_ALL = (1 << RUN_CLASSES) - 1,
    /* what a course may use whose entry in the course file doesn't say */
    RUN_CLASSES_DEFAULT = RUN_CLASSES_ALL & ~(1 << RUN_CLASS_EXAM),
    COURSE_WEIGHT_DEFAULT = 100,
    COURSE_WEIGHT_MAX = 10000,
    COURSE_MAX_RUNNING_MAX = 100000,
    SUBMITTER_SIZE = 129,   /* with its NUL */
    RESERVATIONS_MAX = 100, /* at a time */
    RESERVATION_COURSES_MAX = 100,
    SCHEDULING_BY_SIZE = 2 * WORKER_ID_SIZE,
    SCHEDULING_NOTE_SIZE = 501
};

/* "exam" and so on. Static. */
const char *run_class_name(enum run_class run_class);
/* Sets the class of that name. False: there is none. */
bool run_class_find(const char *name, enum run_class *run_class);
/* 0 for the class that goes first. */
unsigned run_class_rank(enum run_class run_class);

/* A list of classes, as a bit (1 << enum run_class) for each. The check: a list that is not empty,
 * of names of classes. BW_BAD_REQUEST: a sentence. */
enum bw_code run_classes_check(const json_t *value, const char *path, const void *context,
                               struct bw_error *error) BW_CHECKED;
/* The bits of a checked list; 0: it is NULL. */
unsigned run_classes_of(const json_t *list);
/* The names of the classes, those that go first first. New reference. */
json_t *run_classes_list(unsigned classes);

/* The share of a course. */
struct course_share {
    char course[WORKER_ID_SIZE];
    uint32_t weight;      /* 1..COURSE_WEIGHT_MAX: a course with 200 gets twice the graders' time of
                             one with 100, while both wait; 0: not stated */
    uint32_t max_running; /* jobs that run at once; 0: no limit */
    bool has_max_running; /* it is stated */
    char by[SCHEDULING_BY_SIZE]; /* who set it by an endpoint; "": the course file */
    int64_t at_ms;               /* when; database date */
};

/* Graders that work for some courses or classes alone: a grader that has all tags of a reservation
 * takes only jobs that some reservation of its tags allows. A reservation allows a job whose course
 * is in its list, if it has one, and whose class is one of its classes. */
struct reservation {
    char name[WORKER_ID_SIZE];
    char tags[WORKER_TAGS_SIZE];     /* as in worker_tags.h; at least one */
    char (*courses)[WORKER_ID_SIZE]; /* owned; NULL: any */
    size_t course_count;
    unsigned classes; /* a bit (1 << enum run_class) for each it allows */
    char by[SCHEDULING_BY_SIZE];
    char note[SCHEDULING_NOTE_SIZE];
    int64_t at_ms, until_ms; /* database dates; until_ms 0: without end */
};

/* All that is stored (common/store/scheduling_store.h). */
struct scheduling {
    struct course_share *shares; /* owned; one per course at most: what an operator stated goes
                                    before the course file, field by field */
    size_t share_count;
    struct reservation *reservations; /* owned, by name */
    size_t reservation_count;
};

/* Frees what it owns; it is empty then. */
void scheduling_clear(struct scheduling *scheduling);

/* Whether both have the same reservations, as far as they decide who may run what. */
bool scheduling_reserves_same(const struct scheduling *one, const struct scheduling *other);

/* Whether `tags` has all of `wanted`, both as in worker_tags.h; NULL is "". */
bool worker_tags_include(const char *tags, const char *wanted);

/* Whether a reservation allows such a job. */
bool reservation_allows(const struct reservation *reservation, const char *course,
                        enum run_class run_class);

/* The fields "class", "requires" (a list of tags) and "submitter" of a run, for its table. */
#define RUN_SCHEDULING_FIELDS                                                                   \
    {.name = "class", .kind = FIELD_STRING, .check = run_class_check},                          \
        {.name = "requires", .kind = FIELD_ANY, .check = run_requires_check},                   \
    {                                                                                           \
        .name = "submitter", .kind = FIELD_STRING, .minimum = 1, .maximum = SUBMITTER_SIZE - 1, \
        .check = run_submitter_check                                                            \
    }

/* Checks of the values, for that table. BW_BAD_REQUEST: a sentence. */
enum bw_code run_class_check(const json_t *value, const char *path, const void *context,
                             struct bw_error *error) BW_CHECKED;
enum bw_code run_requires_check(const json_t *value, const char *path, const void *context,
                                struct bw_error *error) BW_CHECKED;
enum bw_code run_submitter_check(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error) BW_CHECKED;

/* The text of a checked list of tags, sorted and without repetitions, as runs store it: "cpu,gpu".
 * New, free(); NULL: the list is empty or NULL. */
char *run_requires_text(const json_t *list);

#endif
