#include "common/domain/job.h"

#include <stdio.h>
#include <string.h>

enum { INDEX_BITS = 28 };

bool is_hex_id(const char *text, unsigned length)
{
    return strlen(text) == length && strspn(text, "0123456789abcdef") == length;
}

/* The value of 8 hex digits, which are known to be such. */
static uint32_t tail_value(const char *digits)
{
    uint32_t value = 0;
    for (int i = 0; i < JOB_ID_LENGTH - RUN_ID_LENGTH; i++) {
        char digit = digits[i];
        value = value << 4 | (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
}

bool job_id_parse(const char *text, struct job_id *id)
{
    if (!is_hex_id(text, JOB_ID_LENGTH))
        return false;
    uint32_t tail = tail_value(text + RUN_ID_LENGTH);
    uint32_t kind = tail >> INDEX_BITS, index = tail & JOB_MAX_INDEX;
    if (kind > JOB_POST || (kind != JOB_STUDENT && index != 0))
        return false;
    memcpy(id->run, text, RUN_ID_LENGTH);
    id->run[RUN_ID_LENGTH] = '\0';
    id->kind = (enum job_kind)kind;
    id->index = index;
    return true;
}

const char *job_id_make(const char *run, enum job_kind kind, uint32_t index, char text[JOB_ID_SIZE])
{
    snprintf(text, JOB_ID_SIZE, "%.24s%08x", run,
             (uint32_t)kind << INDEX_BITS | (index & JOB_MAX_INDEX));
    return text;
}

const char *job_id_format(const struct job_id *id, char text[JOB_ID_SIZE])
{
    return job_id_make(id->run, id->kind, id->index, text);
}

static const char *const outcome_names[] = {
    [OUTCOME_NONE] = NULL,
    [OUTCOME_SUCCEEDED] = "succeeded",
    [OUTCOME_FAILED] = "failed",
    [OUTCOME_CANCELLED] = "cancelled",
    [OUTCOME_SUPERSEDED] = "superseded",
};

const char *outcome_name(enum job_outcome outcome)
{
    return outcome_names[outcome];
}

enum job_outcome outcome_parse(const char *name)
{
    for (int outcome = OUTCOME_SUCCEEDED; outcome < OUTCOMES; outcome++)
        if (strcmp(outcome_names[outcome], name) == 0)
            return (enum job_outcome)outcome;
    return OUTCOME_NONE;
}

const char *owner_name(enum job_owner owner)
{
    static const char *const names[] = {[OWNER_INFRASTRUCTURE] = "infrastructure",
                                        [OWNER_CLIENT] = "client",
                                        [OWNER_STUDENT] = "student",
                                        [OWNER_COURSE] = "course"};
    return names[owner];
}

enum job_owner owner_parse(const char *name)
{
    for (int owner = OWNER_INFRASTRUCTURE; owner <= OWNER_COURSE; owner++) {
        const char *known = owner_name((enum job_owner)owner);
        if (known != NULL && strcmp(known, name) == 0)
            return (enum job_owner)owner;
    }
    return OWNER_UNSAID;
}

enum job_owner owner_of_kind(enum job_kind kind)
{
    return kind == JOB_STUDENT ? OWNER_STUDENT : OWNER_COURSE;
}

const char *job_kind_name(enum job_kind kind)
{
    static const char *const names[] = {"pre-processing", "student", "post-processing"};
    return names[kind];
}
