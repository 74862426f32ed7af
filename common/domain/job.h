/*
 * job: ids and outcomes. A job's id is computed, never allocated: the 24 hex digits of its run,
 * then 8 that hold its kind in the top four bits and its index below. A job's id therefore contains
 * its run's id. Pure: no I/O, no clock, no allocation; safe from any thread.
 */
#ifndef COMMON_DOMAIN_JOB_H
#define COMMON_DOMAIN_JOB_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RUN_ID_LENGTH = 24,
    JOB_ID_LENGTH = 32,
    WORKER_ID_LENGTH = 32,
    WORKER_SHOWN_LENGTH = 8, /* of an id that is its grader's credential, to people */
    RUN_ID_SIZE = RUN_ID_LENGTH + 1,
    JOB_ID_SIZE = JOB_ID_LENGTH + 1,
    WORKER_ID_SIZE = 128,    /* classic ids are 32 hex digits; course ids are names */
    REASON_SIZE = 256,       /* of a sentence that says why a job ended, with its NUL */
    RETURN_REASON_SIZE = 216 /* of a grader's, which becomes a part of such a sentence */
};

enum job_kind { JOB_PRE = 0, JOB_STUDENT = 1, JOB_POST = 2 };

#define JOB_MAX_INDEX 0x0FFFFFFFu

struct job_id {
    char run[RUN_ID_SIZE];
    enum job_kind kind;
    uint32_t index; /* of the student, from 0; 0 for pre- and post-processing */
};

enum job_outcome {
    OUTCOME_NONE = 0,
    OUTCOME_SUCCEEDED = 1,
    OUTCOME_FAILED = 2,
    OUTCOME_CANCELLED = 3,
    OUTCOME_SUPERSEDED = 4, /* a newer job with the same supersede key counts */
    OUTCOMES                /* how many there are, with OUTCOME_NONE */
};

/* Who is at fault that a job failed, or who cancelled it alone. */
enum job_owner {
    OWNER_UNSAID = 0,
    OWNER_INFRASTRUCTURE = 1, /* graders, or what they run on */
    OWNER_CLIENT = 2,         /* a client cancelled this job, not its run */
    OWNER_STUDENT = 3,        /* the student whose job it is */
    OWNER_COURSE = 4          /* those who wrote the job before or after the students */
};

/* Whether `text` is exactly `length` lower-case hex digits. */
bool is_hex_id(const char *text, unsigned length);

/* Reads an id of 32 lower-case hex digits. False, and nothing written, if it is not one or if its
 * kind is unknown. */
bool job_id_parse(const char *text, struct job_id *id);

/* Writes the id of a job into `text` and returns it. */
const char *job_id_format(const struct job_id *id, char text[JOB_ID_SIZE]);

/* The same from its parts; `run` is a run id. */
const char *job_id_make(const char *run, enum job_kind kind, uint32_t index,
                        char text[JOB_ID_SIZE]);

/* "succeeded", "failed", "cancelled", "superseded"; NULL for OUTCOME_NONE. Static. */
const char *outcome_name(enum job_outcome outcome);

/* The outcome of that name; OUTCOME_NONE if there is none. */
enum job_outcome outcome_parse(const char *name);

/* "infrastructure", "client", "student", "course"; NULL for OWNER_UNSAID. Static. */
const char *owner_name(enum job_owner owner);

/* The owner of that name; OWNER_UNSAID if there is none. */
enum job_owner owner_parse(const char *name);

/* Who is at fault, by default, if a grader reports that a job of this kind has failed. */
enum job_owner owner_of_kind(enum job_kind kind);

/* "pre-processing", "student", "post-processing". Static. */
const char *job_kind_name(enum job_kind kind);

#endif
