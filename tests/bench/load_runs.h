/*
 * runs: the instructor's side: submitting and starting grading runs over a few connections.
 */
#ifndef BENCH_LOAD_RUNS_H
#define BENCH_LOAD_RUNS_H

#include "tests/bench/load_loop.h"
#include "tests/bench/samples.h"

enum { RUN_SIZE = 25, INSTRUCTORS_MAX = 1024 };

struct runs;

struct instructor {
    struct link link;
    struct runs *runs;
    bool is_starting;
};

struct runs {
    struct loop *loop;
    struct instructor instructors[INSTRUCTORS_MAX];
    size_t instructor_count;
    const char *path;   /* where runs are posted */
    const char *bearer; /* of a course's staff: their runs are started as they are created; or NULL
                         */
    char *body;         /* what is submitted */
    size_t body_length;
    char (*ids)[RUN_SIZE]; /* submitted, not started */
    size_t id_count, id_room, next_id;
    size_t left, inflight; /* requests of the command at hand */
    uint64_t done;
    int64_t until_ns; /* 0: as many as `left` says */
    struct samples took;
};

void runs_open(struct runs *runs, struct loop *loop);

/* What is submitted from now on: a run of `students` with a stage of two variables; with a
 * pre-processing job if `has_pre`. */
void runs_describe(struct runs *runs, size_t students, bool has_pre);

/* Submits `count` runs over `connections`, or as many as go in `seconds` if count is 0. */
void runs_submit(struct runs *runs, size_t count, size_t connections, double seconds);

/* Begins to start all runs that were submitted, in their order, over `connections`. Does not wait.
 */
void runs_begin_start(struct runs *runs, size_t connections);

/* From now on these are runs of the course and assignment "bench", by this token (borrowed): what
 * is submitted is only counted, and starting a run creates it. */
void runs_of_course(struct runs *runs, const char *bearer);

/* What was submitted so far is not to be started. */
void runs_leave(struct runs *runs);

bool runs_are_started(const struct runs *runs);

#endif
