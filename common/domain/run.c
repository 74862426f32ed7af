#include "common/domain/run.h"

#include <string.h>

enum {
    SUMMARY_OUTCOME_BITS = 2,
    SUMMARY_OWNER_SHIFT = 6,
    SUMMARY_MOST_ATTEMPTS = 15,
    /* of a failure: the owner follows from the job's kind; else a client */
    SUMMARY_OWNER_BY_KIND = 2,
    SUMMARY_OWNER_OTHER = 3, /* the course for a student's job, the student for another one */
    SUMMARY_SUPERSEDED = 3   /* of a cancelled job, in the owner's place */
};

static const char *const phase_names[] = {
#define RUN_PHASE_NAME(name, text) [RUN_##name] = text,
    RUN_PHASE_MAP(RUN_PHASE_NAME)
#undef RUN_PHASE_NAME
};

enum run_phase run_phase(const struct run_facts *facts)
{
    if (!facts->is_started)
        return facts->is_cancelled ? RUN_CANCELLED : RUN_CREATED;
    if (facts->has_pre && facts->pre == OUTCOME_NONE)
        return RUN_PRE;
    if (facts->has_pre && facts->pre == OUTCOME_FAILED)
        return RUN_FAILED;
    if (facts->has_pre && facts->pre == OUTCOME_CANCELLED)
        return RUN_CANCELLED;
    if (facts->has_pre && facts->pre == OUTCOME_SUPERSEDED)
        return RUN_SUPERSEDED;
    if (facts->students_done < facts->students)
        return RUN_STUDENTS;
    if (facts->students > 0 && facts->students_superseded == facts->students)
        return RUN_SUPERSEDED;
    if (facts->has_post && facts->post == OUTCOME_NONE && !facts->any_cancelled)
        return RUN_POST;
    if (facts->any_cancelled || (facts->has_post && facts->post == OUTCOME_CANCELLED))
        return RUN_CANCELLED;
    return facts->has_post && facts->post == OUTCOME_FAILED ? RUN_FAILED : RUN_FINISHED;
}

bool run_cancelled_job(enum job_outcome outcome, enum job_owner owner)
{
    return outcome == OUTCOME_CANCELLED && owner != OWNER_CLIENT;
}

bool run_phase_is_over(enum run_phase phase)
{
    return phase >= RUN_FINISHED;
}

enum run_phase run_phase_of(enum job_kind kind)
{
    static const enum run_phase phases[] = {RUN_PRE, RUN_STUDENTS, RUN_POST};
    return phases[kind];
}

const char *run_phase_name(enum run_phase phase)
{
    return phase_names[phase];
}

bool run_phase_parse(const char *name, enum run_phase *phase)
{
    for (int i = RUN_CREATED; i <= RUN_SUPERSEDED; i++)
        if (strcmp(phase_names[i], name) == 0) {
            *phase = (enum run_phase)i;
            return true;
        }
    return false;
}

uint32_t run_job_count(bool has_pre, uint32_t students, bool has_post)
{
    return (has_pre ? 1 : 0) + students + (has_post ? 1 : 0);
}

bool run_job_slot(bool has_pre, uint32_t students, bool has_post, enum job_kind kind,
                  uint32_t index, uint32_t *slot)
{
    uint32_t first_student = has_pre ? 1 : 0;
    switch (kind) {
    case JOB_PRE:
        if (!has_pre || index != 0)
            return false;
        *slot = 0;
        return true;
    case JOB_STUDENT:
        if (index >= students)
            return false;
        *slot = first_student + index;
        return true;
    case JOB_POST:
        if (!has_post || index != 0)
            return false;
        *slot = first_student + students;
        return true;
    }
    return false;
}

void run_slot_job(bool has_pre, uint32_t students, uint32_t slot, enum job_kind *kind,
                  uint32_t *index)
{
    uint32_t first_student = has_pre ? 1 : 0;
    *index = 0;
    if (slot < first_student) {
        *kind = JOB_PRE;
        return;
    }
    *kind = slot - first_student < students ? JOB_STUDENT : JOB_POST;
    if (*kind == JOB_STUDENT)
        *index = slot - first_student;
}

static uint32_t summary_owner_code(enum job_owner owner, enum job_kind kind)
{
    if (owner == OWNER_STUDENT || owner == OWNER_COURSE)
        return owner == owner_of_kind(kind) ? SUMMARY_OWNER_BY_KIND : SUMMARY_OWNER_OTHER;
    return (uint32_t)owner;
}

uint8_t summary_make(enum job_outcome outcome, uint32_t attempts, enum job_owner owner,
                     enum job_kind kind)
{
    uint32_t kept = attempts < SUMMARY_MOST_ATTEMPTS ? attempts : SUMMARY_MOST_ATTEMPTS;
    uint32_t code = summary_owner_code(owner, kind);
    if (outcome == OUTCOME_SUPERSEDED) {
        outcome = OUTCOME_CANCELLED;
        code = SUMMARY_SUPERSEDED;
    }
    return (uint8_t)(code << SUMMARY_OWNER_SHIFT | kept << SUMMARY_OUTCOME_BITS |
                     (uint32_t)outcome);
}

enum job_outcome summary_outcome(uint8_t summary)
{
    enum job_outcome outcome = (enum job_outcome)(summary & 3);
    bool is_superseded = outcome == OUTCOME_CANCELLED &&
                         (summary >> SUMMARY_OWNER_SHIFT & 3) == SUMMARY_SUPERSEDED;
    return is_superseded ? OUTCOME_SUPERSEDED : outcome;
}

uint32_t summary_attempts(uint8_t summary)
{
    return (uint32_t)summary >> SUMMARY_OUTCOME_BITS & SUMMARY_MOST_ATTEMPTS;
}

enum job_owner summary_owner(uint8_t summary, enum job_kind kind)
{
    uint32_t code = (uint32_t)summary >> SUMMARY_OWNER_SHIFT & 3;
    if (summary_outcome(summary) == OUTCOME_SUPERSEDED ||
        (code == SUMMARY_OWNER_BY_KIND && summary_outcome(summary) == OUTCOME_CANCELLED))
        return OWNER_CLIENT;
    if (code == SUMMARY_OWNER_BY_KIND)
        return owner_of_kind(kind);
    if (code == SUMMARY_OWNER_OTHER)
        return owner_of_kind(kind) == OWNER_STUDENT ? OWNER_COURSE : OWNER_STUDENT;
    return code == OWNER_INFRASTRUCTURE ? OWNER_INFRASTRUCTURE : OWNER_UNSAID;
}
