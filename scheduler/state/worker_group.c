#include "scheduler/state/worker_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "scheduler/state/parked_poll.h"
#include "scheduler/state/worker_table.h"

static void worker_group_free(struct worker_groups *groups, struct worker_group *group)
{
    HASH_DELETE(hh, groups->groups, group);
    free(group);
    groups->version++;
}

void worker_groups_clear(struct worker_groups *groups)
{
    struct worker_group *group, *following;
    HASH_ITER (hh, groups->groups, group, following)
        worker_group_free(groups, group);
    *groups = (struct worker_groups){.version = groups->version + 1};
}

static size_t worker_group_count_tags(const char *tags)
{
    size_t count = tags[0] != '\0';
    for (const char *at = tags; *at != '\0'; at++)
        count += *at == ',';
    return count;
}

/* Whether some reservation is for workers with these tags. */
static bool worker_group_is_reserved(const struct worker_groups *groups, const char *tags)
{
    for (size_t i = 0; i < groups->reservation_count; i++)
        if (worker_tags_include(tags, groups->reservations[i].tags))
            return true;
    return false;
}

static struct worker_group *worker_group_find(struct worker_groups *groups, enum protocol protocol,
                                              const char *tags)
{
    struct worker_group *group;
    char key[WORKER_TAGS_SIZE + 8];
    int head = snprintf(key, sizeof key, "%u/", (unsigned)protocol);
    snprintf(key + head, sizeof key - (size_t)head, "%s", tags);
    HASH_FIND_STR(groups->groups, key, group);
    if (group != NULL)
        return group;
    group = bw_alloc(sizeof *group + strlen(key) + 1);
    memcpy(group->key, key, strlen(key) + 1);
    group->protocol = protocol;
    group->tags = group->key + head;
    group->tag_count = worker_group_count_tags(group->tags);
    HASH_ADD_STR(groups->groups, key, group);
    groups->version++;
    return group;
}

void worker_group_add(struct worker_group *group, struct parked_poll *poll)
{
    struct parked_poll *last = group->waiters == NULL ? NULL : group->waiters->group_prev;
    group->waiting++;
    if (last == NULL || poll->order > last->order) {
        DL_APPEND2(group->waiters, poll, group_prev, group_next);
        return;
    }
    struct parked_poll *behind = group->waiters;
    while (behind->order < poll->order)
        behind = behind->group_next;
    DL_PREPEND_ELEM2(group->waiters, behind, poll, group_prev, group_next);
}

void worker_group_remove(struct worker_group *group, struct parked_poll *poll)
{
    group->waiting--;
    DL_DELETE2(group->waiters, poll, group_prev, group_next);
}

void worker_groups_leave(struct worker_groups *groups, struct known_worker *worker)
{
    struct worker_group *group = worker->group;
    worker->group = NULL;
    if (group != NULL && --group->workers == 0)
        worker_group_free(groups, group);
}

void worker_groups_assign(struct worker_groups *groups, struct known_worker *worker)
{
    struct worker_group *former = worker->group;
    struct worker_group *group = worker_group_find(groups, worker->protocol,
                                                   worker->tags != NULL ? worker->tags : "");
    struct parked_poll *poll;
    bool is_reserved = worker_group_is_reserved(groups, group->tags);
    groups->version += group->is_reserved != is_reserved;
    group->is_reserved = is_reserved;
    if (group == former)
        return;
    group->workers++;
    DL_FOREACH2 (worker->polls, poll, worker_next) {
        if (former != NULL)
            worker_group_remove(former, poll);
        worker_group_add(group, poll);
    }
    worker_groups_leave(groups, worker);
    worker->group = group;
}

bool worker_group_has_reservation(const struct worker_group *group,
                                  const struct reservation *reservation)
{
    return worker_tags_include(group->tags, reservation->tags);
}

/* Whether the group is reserved, and for other jobs. */
static bool worker_group_is_for_others(const struct worker_groups *groups,
                                       const struct worker_group *group, const char *course,
                                       enum run_class run_class)
{
    bool is_allowed = !group->is_reserved;
    for (size_t i = 0; i < groups->reservation_count && !is_allowed; i++)
        is_allowed = worker_group_has_reservation(group, &groups->reservations[i]) &&
                     reservation_allows(&groups->reservations[i], course, run_class);
    return !is_allowed;
}

uint64_t worker_group_wait_reasons(const struct worker_groups *groups,
                                   const struct worker_group *group, enum protocol protocol,
                                   const char *course, enum run_class run_class,
                                   const char *requires)
{
    if (group->protocol != protocol)
        return wait_bit(WAIT_OTHER_PROTOCOL, true);
    return wait_bit(WAIT_TAGS_MISSING, !worker_tags_include(group->tags, requires)) |
           wait_bit(WAIT_RESERVED, worker_group_is_for_others(groups, group, course, run_class));
}
