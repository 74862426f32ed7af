/*
 * history: samples of the cluster's load, one for each step of ten seconds: what waits and runs by
 * course, what was handed out and has ended since the sample before, how long jobs waited, and what
 * the graders do. The scheduler takes them; the API merges and shows them. Pure; the caller
 * serializes.
 */
#ifndef COMMON_DOMAIN_HISTORY_H
#define COMMON_DOMAIN_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "common/domain/duration_buckets.h"
#include "common/domain/job.h"
#include "common/domain/protocol_map.h"

enum {
    HISTORY_STEP_MS = 10000,
    HISTORY_COURSES_MAX = 300 /* that a sample has one by one; the others are counted together */
};

/* The load of a course, or of several. */
struct history_load {
    uint64_t queued, running; /* jobs at the date of the sample */
    int64_t oldest_ms;   /* how long the run with queued jobs that was started first has existed; 0:
                            nothing is queued */
    uint64_t handed_out; /* jobs, in the time since the sample before */
    uint64_t results[OUTCOMES]; /* likewise, by outcome */
};

struct history_course {
    enum protocol protocol;
    char name[WORKER_ID_SIZE]; /* "": the runs of a protocol without courses */
    struct history_load load;
};

/* Graders that are alive, each in one of these. */
struct history_graders {
    uint32_t working, idle, paused, faulty;
};

struct history_sample {
    int64_t at_ms; /* the database's date, a multiple of HISTORY_STEP_MS */
    int64_t term;  /* of the leader that took it */
    struct history_graders graders;
    struct duration_buckets waits;  /* of first attempts that were handed out: since the start of
                                       their run */
    struct history_course *courses; /* owned */
    size_t count, room;
    uint64_t other_courses; /* how many are counted together */
    struct history_load others;
};

/* Frees what the sample owns; it is empty then. */
void history_sample_clear(struct history_sample *sample);

/* Appends an empty entry, for a course that has none. Valid until the next call. */
struct history_course *history_sample_add(struct history_sample *sample, enum protocol protocol,
                                          const char *name);

/* Leaves out courses without any load, and counts those with the least together, so that at most
 * HISTORY_COURSES_MAX remain, the largest load first. */
void history_sample_bound(struct history_sample *sample);

/* Merges a later sample into this one: counts are added, what was measured at a date is the later
 * one's. */
void history_sample_merge(struct history_sample *sample, const struct history_sample *later);

#endif
