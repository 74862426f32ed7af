/*
 * run: the phase of a grading run as a pure function of facts, and the byte per job that a run's
 * summary keeps. Pure: no I/O, no clock, no allocation; safe from any thread.
 */
#ifndef COMMON_DOMAIN_RUN_H
#define COMMON_DOMAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/domain/job.h"

#define RUN_PHASE_MAP(X)      \
    X(CREATED, "created")     \
    X(PRE, "preprocessing")   \
    X(STUDENTS, "students")   \
    X(POST, "postprocessing") \
    X(FINISHED, "finished")   \
    X(FAILED, "failed")       \
    X(CANCELLED, "cancelled") \
    X(SUPERSEDED, "superseded")

enum run_phase {
#define RUN_PHASE_ENUM(name, text) RUN_##name,
    RUN_PHASE_MAP(RUN_PHASE_ENUM)
#undef RUN_PHASE_ENUM
};

/* The facts on which the phase of a run depends. */
struct run_facts {
    bool has_pre, has_post;
    uint32_t students; /* how many student jobs there are */
    bool is_started;
    bool is_cancelled;            /* a cancellation was requested */
    enum job_outcome pre, post;   /* OUTCOME_NONE: no result yet */
    uint32_t students_done;       /* how many student jobs have a result */
    uint32_t students_superseded; /* how many of them were superseded */
    bool any_cancelled;           /* some student's job was cancelled with its run */
};

/* The phase that follows from the facts. A run with all necessary results, of which none is
 * `cancelled`, is finished (or failed), even if a cancellation was requested. A student's job that
 * was cancelled alone is like one that failed; a job before or after the students that was, too,
 * except that the run is cancelled then, not failed. A run whose students were all superseded is
 * superseded: its job before them ends the same way, and none follows them. */
enum run_phase run_phase(const struct run_facts *facts);

/* Whether a job's result says that it was cancelled with its run, not alone. */
bool run_cancelled_job(enum job_outcome outcome, enum job_owner owner);

/* Whether the run has ended. */
bool run_phase_is_over(enum run_phase phase);

/* The phase in which jobs of `kind` are handed out. */
enum run_phase run_phase_of(enum job_kind kind);

/* "created", "preprocessing", ... as stored and answered. Static. */
const char *run_phase_name(enum run_phase phase);

/* Writes the phase of that name; false if there is none. */
bool run_phase_parse(const char *name, enum run_phase *phase);

/* The number of jobs of a run. Their order: pre-processing if there is one, the students in order,
 * post-processing if there is one. */
uint32_t run_job_count(bool has_pre, uint32_t students, bool has_post);

/* The position of a job in that order; false if the run has no such job. */
bool run_job_slot(bool has_pre, uint32_t students, bool has_post, enum job_kind kind,
                  uint32_t index, uint32_t *slot);

/* The kind and index of the job at `slot`, which is below run_job_count. */
void run_slot_job(bool has_pre, uint32_t students, uint32_t slot, enum job_kind *kind,
                  uint32_t *index);

/* A summary byte: the outcome in the low two bits (superseded is cancelled, with the owner 3), the
 * counted attempts (0..15, more are 15) in the next four, above them the owner: 1 is the
 * infrastructure, 2 the one that follows from the job's kind (owner_of_kind), 3 the other one of
 * student and course. Earlier versions read 3, and still earlier ones 2, as none. `kind`: the
 * job's. */
uint8_t summary_make(enum job_outcome outcome, uint32_t attempts, enum job_owner owner,
                     enum job_kind kind);
/* The outcome in a summary byte, its number of counted attempts, and the owner for a job of that
 * kind. */
enum job_outcome summary_outcome(uint8_t summary);
uint32_t summary_attempts(uint8_t summary);
enum job_owner summary_owner(uint8_t summary, enum job_kind kind);

#endif
