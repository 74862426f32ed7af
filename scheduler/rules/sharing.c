#include "scheduler/rules/sharing.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

static const struct course_share *sharing_find(const struct scheduler *scheduler,
                                               const char *course)
{
    const struct scheduling *scheduling = &scheduler->scheduling;
    for (size_t i = 0; i < scheduling->share_count; i++)
        if (strcmp(scheduling->shares[i].course, course) == 0)
            return &scheduling->shares[i];
    return NULL;
}

static void sharing_take_course(const struct scheduler *scheduler, struct course *course)
{
    if (course->version == scheduler->scheduling_version)
        return;
    const struct course_share *share = sharing_find(scheduler, course->name);
    bool has_weight = share != NULL && share->weight > 0;
    course->version = scheduler->scheduling_version;
    queue_order_set_weight(course, has_weight ? share->weight : COURSE_WEIGHT_DEFAULT);
    course->max_running = share != NULL ? share->max_running : 0;
}

void sharing_take_run(const struct scheduler *scheduler, const struct active_run *run)
{
    sharing_take_course(scheduler, run->course);
}

void sharing_take_worker(struct scheduler *scheduler, struct known_worker *worker)
{
    worker_groups_assign(&scheduler->groups, worker);
}

/* Whether the courses have these shares already. */
static bool sharing_has_shares(const struct scheduler *scheduler,
                               const struct scheduling *scheduling)
{
    const struct scheduling *known = &scheduler->scheduling;
    return known->share_count == scheduling->share_count &&
           (known->share_count == 0 || memcmp(known->shares, scheduling->shares,
                                              known->share_count * sizeof *known->shares) == 0);
}

/* Who may run what has changed. */
static void sharing_regroup(struct scheduler *scheduler)
{
    struct known_worker *worker, *following;
    scheduler->groups.version++;
    HASH_ITER (hh, scheduler->workers.workers, worker, following)
        worker_groups_assign(&scheduler->groups, worker);
}

void sharing_take(struct scheduler *scheduler, struct scheduling *scheduling)
{
    struct course *course, *next_course;
    bool is_same = scheduling_reserves_same(&scheduler->scheduling, scheduling);
    bool has_shares = sharing_has_shares(scheduler, scheduling);
    scheduling_clear(&scheduler->scheduling);
    scheduler->scheduling = *scheduling;
    *scheduling = (struct scheduling){0};
    scheduler->scheduling_version += !has_shares;
    scheduler->groups.reservations = scheduler->scheduling.reservations;
    scheduler->groups.reservation_count = scheduler->scheduling.reservation_count;
    HASH_ITER (hh, scheduler->queue.order.courses, course, next_course)
        sharing_take_course(scheduler, course);
    if (!is_same)
        sharing_regroup(scheduler);
}

bool sharing_has_groups(const struct scheduler *scheduler, struct lane *lane)
{
    const struct worker_groups *groups = &scheduler->groups;
    struct worker_group *group, *following;
    if (lane->version == groups->version)
        return lane->group_count > 0;
    lane->version = groups->version;
    lane->group_count = 0;
    lane->groups = bw_grow(lane->groups, HASH_COUNT(groups->groups) + 1, sizeof *lane->groups);
    HASH_ITER (hh, groups->groups, group, following)
        if (worker_group_wait_reasons(groups, group, lane->course->protocol, lane->course->name,
                                      lane->run_class, lane->requires) == 0)
            lane->groups[lane->group_count++] = group;
    return lane->group_count > 0;
}
