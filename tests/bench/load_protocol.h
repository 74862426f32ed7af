/*
 * protocol: what a grader says, by the protocol it speaks: seed, course-http, course-ws. For the
 * fleet, which decides when.
 */
#ifndef BENCH_LOAD_PROTOCOL_H
#define BENCH_LOAD_PROTOCOL_H

#include "tests/bench/load_fleet.h"

struct protocol {
    const char *name;
    const char *job_field; /* what a job's id is called in a job */
    bool is_socket;        /* it waits from its registration on, and results are not answered */
    void (*enroll)(struct grader *grader);
    /* Is it registered with this? A websocket comes here twice: 101, then the word. */
    bool (*take_enrolled)(struct grader *grader, const struct answer *answer);
    void (*poll)(struct grader *grader);
    void (*report)(struct grader *grader);
};

/* By name; NULL: there is none. */
const struct protocol *protocol_find(const char *name);

/* The value of a text field, without parsing all of it. */
bool answer_field(const char *body, const char *name, char value[JOB_SIZE]);

#endif
