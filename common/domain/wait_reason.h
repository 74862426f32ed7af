/*
 * wait_reason: why a job waits, or why a grader gets none. The scheduler's predicates answer with a
 * set of reasons, a bit (wait_bit) for each; an empty set means that nothing prevents the hand-out.
 * The same sets decide whether a job is handed out and explain why it is not
 * (scheduler/rules/hand_out_check.h). docs/scheduling.md has the meaning of each reason.
 *
 * Pure: no I/O, no clock, no allocation; safe from any thread.
 */
#ifndef COMMON_DOMAIN_WAIT_REASON_H
#define COMMON_DOMAIN_WAIT_REASON_H

#include <stdbool.h>
#include <stdint.h>

/* X(reason, word in answers), in the order in which answers list them: of the cluster, of the job,
 * of the job and a grader, of the order, of graders. */
#define WAIT_REASON_MAP(X)                      \
    X(DATABASE, "database_unavailable")         \
    X(NO_LEADER, "no_leader")                   \
    X(LEADER_STOPPING, "leader_stopping")       \
    X(LEADER_STARTING, "leader_starting")       \
    X(NOT_STARTED, "not_started")               \
    X(CANCELLED, "cancelled")                   \
    X(SUPERSEDED, "superseded")                 \
    X(PAUSED, "paused")                         \
    X(PRE_NOT_DONE, "preprocessing_not_done")   \
    X(STUDENTS_NOT_DONE, "students_not_done")   \
    X(NO_STAGES, "no_stages")                   \
    X(HANDING_OUT, "handing_out")               \
    X(ATTEMPT_ENDING, "attempt_ending")         \
    X(RETRY_NOT_DUE, "retry_not_due")           \
    X(PUT_OFF, "put_off")                       \
    X(COURSE_LIMIT, "course_limit")             \
    X(NO_GRADER, "no_grader")                   \
    X(OTHER_PROTOCOL, "other_protocol")         \
    X(TAGS_MISSING, "tags_missing")             \
    X(RESERVED, "reserved")                     \
    X(RETURNED, "returned")                     \
    X(JOBS_AHEAD, "jobs_ahead")                 \
    X(SHARE_USED_UP, "share_used_up")           \
    X(GRADER_DEAD, "grader_dead")               \
    X(GRADER_FAULTY, "grader_faulty")           \
    X(GRADER_PAUSED, "grader_paused")           \
    X(GRADER_FAILING, "grader_failing")         \
    X(GRADER_UNCONFIRMED, "grader_unconfirmed") \
    X(GRADER_FULL, "grader_full")               \
    X(GRADER_NOT_ASKING, "grader_not_asking")   \
    X(REPLICA_SILENT, "replica_silent")         \
    X(NO_JOB, "no_job")                         \
    X(READY, "ready") /* nothing prevents it */

enum wait_reason {
#define WAIT_REASON_ENUM(name, word) WAIT_##name,
    WAIT_REASON_MAP(WAIT_REASON_ENUM)
#undef WAIT_REASON_ENUM
        WAIT_REASONS
};

/* The set that has `reason` if `is_so`, and else nothing. */
static inline uint64_t wait_bit(enum wait_reason reason, bool is_so)
{
    return (uint64_t)is_so << reason;
}

/* The first reason of a set, which is not empty. */
enum wait_reason wait_reason_first(uint64_t reasons);

/* "paused" and so on. Static. */
const char *wait_reason_word(enum wait_reason reason);

#endif
