/*
 * plan: the night of a deadline, from a seed: 12 courses whose 8,000 submissions come faster and
 * faster during an hour, and 60 graders. Some of it goes wrong: three graders die, one can't work,
 * one course's programs loop until their time is over, one student submits hundreds at once.
 */
#ifndef TESTS_NIGHT_PLAN_H
#define TESTS_NIGHT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    COURSES = 12,
    SUBMISSIONS = 8000,
    GRADERS = 60,
    DYING = 3, /* the first graders; the next one is broken */
    HOUR_MS = 3600000,
    LIMIT_MS = 300000, /* of a job */
    LARGE_COURSE = 0,  /* its weight is ten times that of SMALL_COURSE */
    SMALL_COURSE = 1,
    LOOPING_COURSE = 2, /* its jobs take LIMIT_MS */
    FLOODED_COURSE = 3,
    STUDENTS = 250,     /* of each course */
    FLOODER = STUDENTS, /* the one that submits FLOOD at FLOOD_MS */
    FLOOD = 800,
    FLOOD_MS = HOUR_MS / 2
};

struct submission {
    int64_t at_ms; /* it comes */
    int64_t takes_ms;
    unsigned course, student; /* of that course */
};

struct plan {
    uint64_t seed;
    struct submission submissions[SUBMISSIONS]; /* in the order in which they come */
    unsigned weights[COURSES];
    int64_t dies_ms[DYING];
};

/* The same for the same seed. */
void plan_make(uint64_t seed, struct plan *plan);

#endif
