/*
 * plan: what a seed stands for: the timers, the runs, the graders, which kinds of faults there are,
 * and the faults that last for a while. Made before the world begins. The scope says what of it is
 * left out: that is how a failure is made smaller, and nothing else differs then. Pure.
 */
#ifndef TESTS_SIMULATION_PLAN_H
#define TESTS_SIMULATION_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/dice.h"

enum {
    RUNS = 31,
    RERUNS = 5, /* the last of them: each grades students of an earlier one again */
    GRADERS = 60,
    FEW_GRADERS = 12,
    REPLICAS = 3,
    SCHEDULERS = 2,
    COURSES = 12,
    FAULTS = 16, /* that last for a while, at most */
    MINUTE_MS = 60 * 1000,
    HOUR_MS = 60 * MINUTE_MS,
    QUIET_MS = 42 * 60 * 1000,       /* from when no fault begins */
    CALM_MS = QUIET_MS + 120 * 1000, /* from when their effects are over */
    LAST_START_MS = 40 * 60 * 1000,
    LAST_AIM_MS = LAST_START_MS + 60 * 1000
};

/* What can be paused: the runs, then these. */
enum {
    TARGET_CLUSTER = RUNS,
    TARGET_COURSE,                               /* the first course */
    TARGET_ASSIGNMENT = TARGET_COURSE + COURSES, /* of the first course; each has one */
    TARGET_GRADER = TARGET_ASSIGNMENT + COURSES, /* the first grader, as it is registered then */
    PAUSE_TARGETS = TARGET_GRADER + GRADERS
};

/* Kinds of faults: those at random moments, then those that are planned. */
#define FAULT_MAP(X)                                                       \
    X(SLOW_CALL, "database: slow operations")                              \
    X(LOST_CALL, "database: operations that fail, not done")               \
    X(LOST_ANSWER, "database: operations that fail, done or done in part") \
    X(UNKNOWN_INSERT, "database: inserts whose time is up")                \
    X(DROPPED_EVENT, "stream: events that never come")                     \
    X(DOUBLED_EVENT, "stream: events that come twice")                     \
    X(LATE_EVENT, "stream: events that come late")                         \
    X(LOST_CALLBACK, "callbacks that never arrive")                        \
    X(LOST_REPLY, "callbacks whose reply is lost")                         \
    X(SLOW_CALLBACK, "slow callbacks")                                     \
    X(UNDELIVERABLE, "jobs that a replica can't build")                    \
    X(PUT_OFF, "replicas that put hand-outs off for a while")              \
    X(LOST_JOB, "answers to polls that are lost")                          \
    X(CLOSED_POLL, "polls that their graders close")                       \
    X(DEATH, "graders that die")                                           \
    X(HANG, "graders that hang past the deadline")                         \
    X(SILENCE, "graders that work without heartbeats for a while")         \
    X(DOUBLE_RESULT, "results that are sent twice")                        \
    X(QUICK_FAILURE, "graders that fail jobs at once, without output")     \
    X(REFUSED_RESULT, "results that can't be taken")                       \
    X(CANCEL, "runs that are cancelled")                                   \
    X(AIMED, "clients that act as something happens")                      \
    X(CRASH, "schedulers that crash")                                      \
    X(STALL, "schedulers that stand still")                                \
    X(DEPOSE, "leaders that can't renew their lease")                      \
    X(STREAM_LOST, "change streams that break")                            \
    X(STREAM_STALL, "change streams that stand still")                     \
    X(DATABASE_DOWN, "the database is unavailable")                        \
    X(REPLICA_CRASH, "replicas that crash")                                \
    X(REPLICA_STALL, "replicas that stand still")                          \
    X(PARTITION, "replicas that no callback reaches")                      \
    X(CLOCK_STEP, "the database's date steps")

enum fault_kind {
#define FAULT_ENUM(name, text) FAULT_##name,
    FAULT_MAP(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_KINDS
};

enum { FIRST_PLANNED_FAULT = FAULT_CRASH };

const char *fault_name(enum fault_kind kind);

struct planned_fault {
    enum fault_kind kind;
    int64_t at_ms, lasts_ms;
    int target;          /* a replica; schedulers' faults hit who leads then */
    int64_t step_ms;     /* of the database's date */
    bool crashes_leader; /* at the same moment */
};

enum grader_kind { GRADER_SILENT, GRADER_NAMED, GRADER_PARALLEL, GRADER_COURSE, GRADER_SOCKET };

struct planned_grader {
    enum grader_kind kind;
    int slots; /* jobs at once; it states that if it is GRADER_PARALLEL */
    int64_t joins_ms;
};

struct planned_run {
    int course; /* 0: the classic protocol's */
    bool has_pre, has_post, has_stages[3];
    uint32_t students;
    int priority, max_attempts;
    bool is_untimed;
    int64_t timeout_ms, starts_ms, cancel_ms; /* 0: never cancelled */
    bool is_cancelled_at_once; /* instead: as soon as it is started, while it is handed out */
    bool is_watched;
    bool has_keys; /* sim_keys: from this number on, those students that the mask says */
    uint32_t first_key, key_mask;
    int share_per_mille;
    uint32_t breaker;  /* all of its students' jobs fail alike, and so many pause it; 0: none */
    bool is_abandoned; /* its client gives up when its creation fails half done */
    int rerun_of;      /* the run whose first students it grades again; -1: none */
};

struct plan {
    uint64_t seed;
    int64_t heartbeat_ms, lease_ms, job_timeout_ms;
    int64_t retain_runs_ms, orphan_age_ms; /* the first 0: for ever */
    uint32_t fault_kinds;                  /* bits: those that this seed has */
    int64_t intensity;   /* of faults at random moments, per mille of their full rate */
    uint64_t graders_in; /* bits: those that there are; few, and jobs wait for them */
    int fault_count;
    struct planned_fault faults[FAULTS];
    struct planned_run runs[RUNS];
    struct planned_grader graders[GRADERS];
};

/* What of a plan is played. */
struct scope {
    uint32_t fault_kinds, faults, runs;
    uint64_t graders;
    int64_t first_ms[FAULT_KINDS], last_ms[FAULT_KINDS]; /* of faults at random moments */
};

void plan_make(struct plan *plan, uint64_t seed);

/* The rerun of a run; -1: it has none. */
int plan_rerun(const struct plan *plan, int run);

/* All of it. */
struct scope scope_whole(void);

#endif
