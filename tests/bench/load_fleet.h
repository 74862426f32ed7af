/*
 * fleet: simulated graders of one protocol (load_protocol.h). Each has its own connection,
 * registers, polls, finishes its job after a while (at once by default), reports and polls again. A
 * grader with a websocket waits instead of polling, and gets no answers to its results.
 */
#ifndef BENCH_LOAD_FLEET_H
#define BENCH_LOAD_FLEET_H

#include <uthash.h>

#include "tests/bench/load_loop.h"
#include "tests/bench/samples.h"

enum { JOB_SIZE = 33 };

/* A job that a grader has held, to count jobs that were handed out twice. */
struct held_job {
    char job[JOB_SIZE];
    UT_hash_handle hh;
};

enum grader_state {
    GRADER_NEW,
    GRADER_REGISTERING,
    GRADER_IDLE,
    GRADER_POLLING,
    GRADER_WORKING,
    GRADER_REPORTING
};

struct fleet;
struct protocol;

struct grader {
    struct link link;
    struct fleet *fleet;
    enum grader_state state;
    bool is_registered;
    char worker[JOB_SIZE];
    char job[JOB_SIZE];
    int64_t reported_ns; /* when the last result was sent; 0: none */
    int64_t due_ns;      /* when the current job is done */
    struct grader *next; /* in the list of working graders */
};

struct fleet {
    struct loop *loop;
    const struct protocol *protocol;
    struct grader *graders;
    int64_t pinged_ns; /* when all websockets last sent a ping */
    size_t count, registered, polling, registering, next_new;
    bool is_polling; /* idle graders poll, and those that reported poll again */
    int64_t work_ns; /* how long a job takes */
    struct grader *first_working, *last_working;
    struct held_job *held;
    uint64_t held_count, reported_count, twice;
    int64_t first_held_ns, last_held_ns, last_reported_ns;
    struct samples result_answer; /* result sent to answered */
    struct samples next_job;      /* result sent to the same grader's next job */
    struct samples *held_at;      /* if set: the moment of each hand-out, since `origin_ns` */
    int64_t origin_ns;
};

void fleet_open(struct fleet *fleet, struct loop *loop);

/* Adds and registers graders, up to `count` in total. */
void fleet_grow(struct fleet *fleet, size_t count);

/* true: every idle grader polls, now and later; false: no further polls. */
void fleet_poll(struct fleet *fleet, bool is_polling);

/* Resets the counts. */
void fleet_reset(struct fleet *fleet);

#endif
