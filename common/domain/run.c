#include "common/domain/run.h"

#include <string.h>

enum { SUMMARY_OUTCOME_BITS = 2, SUMMARY_MOST_ATTEMPTS = 15 };

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
    if (facts->students_done < facts->students)
        return RUN_STUDENTS;
    if (facts->has_post && facts->post == OUTCOME_NONE && !facts->any_cancelled)
        return RUN_POST;
    if (facts->any_cancelled || (facts->has_post && facts->post == OUTCOME_CANCELLED))
        return RUN_CANCELLED;
    return facts->has_post && facts->post == OUTCOME_FAILED ? RUN_FAILED : RUN_FINISHED;
}

bool run_phase_is_over(enum run_phase phase)
{
    return phase == RUN_FINISHED || phase == RUN_FAILED || phase == RUN_CANCELLED;
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
    for (int i = RUN_CREATED; i <= RUN_CANCELLED; i++)
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

uint8_t summary_make(enum job_outcome outcome, uint32_t attempts)
{
    uint32_t kept = attempts < SUMMARY_MOST_ATTEMPTS ? attempts : SUMMARY_MOST_ATTEMPTS;
    return (uint8_t)(kept << SUMMARY_OUTCOME_BITS | (uint32_t)outcome);
}

enum job_outcome summary_outcome(uint8_t summary)
{
    return (enum job_outcome)(summary & 3);
}

uint32_t summary_attempts(uint8_t summary)
{
    return (uint32_t)summary >> SUMMARY_OUTCOME_BITS;
}
