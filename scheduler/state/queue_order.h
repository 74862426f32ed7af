/*
 * queue_order: which run's turn it is. Runs that may replace each other in the order stand in one
 * lane: those of a course with the same class, priority and required tags. Within a lane its
 * submitters share the graders' time equally, within a class courses share it by their weights.
 *
 * Both shares are by virtual time: whoever was charged the least is next. A job is charged what
 * the course's jobs usually take when it is handed out, and the difference when it ends; a second
 * at least, so that courses with short jobs take turns. Meanwhile
 * time passes for all that wait: each job that is handed out moves it on by its charge, divided by
 * them. Who comes, or comes back after a rest, begins at that time: nobody saves any up, and many
 * that come once don't hold up those that have more to do.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_QUEUE_ORDER_H
#define SCHEDULER_STATE_QUEUE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/scheduling.h"
#include "common/domain/wait_reason.h"

struct active_run;
struct worker_group;

/* Whoever has runs in a lane: all runs that name nobody have one submitter, "". */
struct submitter {
    struct lane *lane;
    double virtual_ms;        /* graders' time that it was charged */
    uint64_t turn;            /* breaks ties: when it was served last or joined */
    struct active_run *ready; /* its runs with jobs to hand out, best first */
    uint32_t runs;            /* all its runs here; it is freed with the last one */
    size_t place;             /* in the lane's heap, from 1; 0: it has no ready run */
    UT_hash_handle hh;
    char name[]; /* key */
};

struct lane {
    struct course *course;
    enum run_class run_class;
    int priority;
    const char *requires;         /* tags, as in common/domain/worker_tags.h; in `key` */
    struct submitter *submitters; /* by name */
    struct submitter **ready;     /* heap of those with ready runs; owned */
    size_t ready_count, ready_room;
    double virtual_ms;            /* the time at which a submitter that comes begins */
    uint32_t runs;                /* it is freed with the last one */
    bool is_ready;                /* it is in a list */
    bool is_aside;                /* in that of the lanes that nobody serves */
    struct worker_group **groups; /* that may serve it, as of `version`; owned: rules/sharing */
    size_t group_count;
    uint64_t version;
    uint64_t turn;            /* when it was served last or became ready */
    struct lane *prev, *next; /* in its turns' list or that of the lanes that are aside */
    UT_hash_handle hh;
    char key[];
};

/* The ready lanes of a course that have the same class. */
struct turns {
    struct course *course;
    struct lane *lanes;        /* by priority; not those that are aside */
    struct turns *prev, *next; /* in the order's list, unless there are no lanes */
};

struct course {
    enum protocol protocol;    /* of its runs */
    char name[WORKER_ID_SIZE]; /* "" for runs that belong to no course */
    struct queue_order *order;
    uint32_t weight;       /* common/domain/scheduling.h */
    uint32_t max_running;  /* 0: no limit */
    uint32_t running;      /* its leased jobs */
    uint32_t inserting;    /* of these, those whose lease is being inserted */
    uint64_t queued;       /* its jobs that wait: first attempts and retries, due or not */
    uint64_t version;      /* of the settings that it has: rules/sharing */
    uint32_t ready_weight; /* what of it counts in the order's; 0: no lane is ready */
    double virtual_ms;     /* graders' time that it was charged, over its weight */
    uint64_t turn;         /* breaks ties */
    double usual_ms;       /* what its jobs take; 0: none has ended yet */
    struct lane *lanes;    /* by key */
    uint32_t ready_lanes;  /* how many of them are ready */
    struct turns turns[RUN_CLASSES]; /* by rank */
    UT_hash_handle hh;
    char key[WORKER_ID_SIZE + 1];
};

struct queue_order {
    struct course *courses;                      /* by key */
    struct turns *turns[PROTOCOLS][RUN_CLASSES]; /* by rank, best first */
    struct lane *aside;                          /* ready lanes that no grader may serve */
    uint64_t version;                            /* of the groups for which they are aside */
    double virtual_ms[PROTOCOLS];                /* the time at which a course that comes begins */
    double served_ms[PROTOCOLS];                 /* the latest begin of a course that was served */
    uint32_t ready_weight[PROTOCOLS];            /* of the courses with ready lanes, in all */
    double usual_ms;                             /* of the jobs of all courses */
    uint64_t turn; /* the last one; each hand-out and each that comes has one */
};

void queue_order_destroy(struct queue_order *order);

/* The lane and submitter of a run that is added; both live until it leaves. */
struct submitter *queue_order_join(struct queue_order *order, const struct active_run *run);
void queue_order_leave(struct submitter *submitter);

/* The run is ready from now on, is so no longer, or has moved among the submitter's runs. */
void queue_order_insert(struct active_run *run);
void queue_order_delete(struct active_run *run);

/* The ready lanes of a protocol, best first; NULL: there are no more. */
struct lane *queue_order_first(const struct queue_order *order, enum protocol protocol);
struct lane *queue_order_next(const struct lane *lane);

/* No grader may serve the lane, which is ready: it costs no time until all such lanes are brought
 * back. */
void queue_order_set_aside(struct lane *lane);
void queue_order_bring_back(struct queue_order *order);

/* The run whose turn it is in a ready lane. */
struct active_run *queue_order_run(const struct lane *lane);

/* Why no job of the course is handed out, whichever it is: a set of reasons
 * (common/domain/wait_reason.h); 0: it may run one more. */
static inline uint64_t course_wait_reasons(const struct course *course)
{
    bool is_full = course->max_running > 0 && course->running >= course->max_running;
    return wait_bit(WAIT_COURSE_LIMIT, is_full);
}

/* Whether it is the turn of `left`'s lanes before those of `right` with the same class: it was
 * charged less of its share. */
bool queue_order_course_is_before(const struct course *left, const struct course *right);

/* The course's share is another from now on. */
void queue_order_set_weight(struct course *course, uint32_t weight);

/* What a job of the course is charged when it is handed out, in milliseconds. */
double queue_order_usual_ms(const struct course *course);

/* The same as it counts against the course's weight. */
double queue_order_usual_charge_ms(const struct course *course);

/* Charges a job of a ready run that is handed out. To be called before its run changes. Returns the
 * charge. */
double queue_order_serve(struct active_run *run);

/* Charges a job that takes longer than it was charged for. */
void queue_order_charge(struct active_run *run, double more_ms);

/* A job that was charged `charged_ms` has ended after `took_ms`. */
void queue_order_correct(struct active_run *run, double charged_ms, double took_ms);

#endif
