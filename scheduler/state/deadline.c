#include "scheduler/state/deadline.h"

enum { SLACK_MS = 60000 };

int64_t deadline_of_job(const struct run *run, enum job_kind kind, int64_t job_timeout_ms)
{
    int64_t untimed_ms = (int64_t)run->untimed_stages[kind] * job_timeout_ms;
    return run->timeout_ms[kind] + (untimed_ms > 0 ? untimed_ms : SLACK_MS);
}

int64_t deadline_of_run(const struct run *run, int64_t job_timeout_ms)
{
    int64_t longest_ms = 0;
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++) {
        int64_t job_ms = deadline_of_job(run, (enum job_kind)kind, job_timeout_ms);
        bool has_kind = kind == JOB_STUDENT || (kind == JOB_PRE ? run->has_pre : run->has_post);
        if (has_kind && job_ms > longest_ms)
            longest_ms = job_ms;
    }
    return longest_ms;
}

int64_t deadline_time_left(int64_t deadline_ms, int64_t limit_ms, int64_t now_ms)
{
    int64_t left_ms = deadline_ms - now_ms;
    bool is_possible = left_ms > 0 && left_ms <= limit_ms;
    return limit_ms == 0 || is_possible ? left_ms : limit_ms;
}
