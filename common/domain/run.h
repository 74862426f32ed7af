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
    X(CANCELLED, "cancelled")

enum run_phase {
#define RUN_PHASE_ENUM(name, text) RUN_##name,
    RUN_PHASE_MAP(RUN_PHASE_ENUM)
#undef RUN_PHASE_ENUM
};

/* All that the phase of a run depends on. */
struct run_facts {
    bool has_pre, has_post;
    uint32_t students; /* how many student jobs there are */
    bool is_started;
    bool is_cancelled;          /* cancelling was asked for */
    enum job_outcome pre, post; /* OUTCOME_NONE: no result yet */
    uint32_t students_done;     /* how many student jobs have a result */
    bool any_cancelled;         /* some job's result is `cancelled` */
};

/* The phase that follows from the facts. A run in which every needed result is there and none was
 * cancelled is finished (or failed), whatever the mark says. */
enum run_phase run_phase(const struct run_facts *facts);

/* Has the run ended? */
bool run_phase_is_over(enum run_phase phase);

/* The phase in which jobs of `kind` are handed out. */
enum run_phase run_phase_of(enum job_kind kind);

/* "created", "preprocessing", ... as stored and answered. Static. */
const char *run_phase_name(enum run_phase phase);

/* Writes the phase of that name; false if there is none. */
bool run_phase_parse(const char *name, enum run_phase *phase);

/* Jobs of a run in one row: pre first if there is one, then the students in order, then post if
 * there is one. */
uint32_t run_job_count(bool has_pre, uint32_t students, bool has_post);

/* The place of a job in that row; false if the run has no such job. */
bool run_job_slot(bool has_pre, uint32_t students, bool has_post, enum job_kind kind,
                  uint32_t index, uint32_t *slot);

/* The kind and index of the job at `slot`, which is below run_job_count. */
void run_slot_job(bool has_pre, uint32_t students, uint32_t slot, enum job_kind *kind,
                  uint32_t *index);

/* A summary byte: the outcome in the low two bits, the counted attempts (0..15, more are 15) above.
 */
uint8_t summary_make(enum job_outcome outcome, uint32_t attempts);
enum job_outcome summary_outcome(uint8_t summary);
uint32_t summary_attempts(uint8_t summary);

#endif
