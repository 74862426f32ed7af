#include "scheduler/state/queue_position.h"

#include <string.h>
#include <utlist.h>

static uint64_t count_retries(const struct retry *list)
{
    const struct retry *retry;
    uint64_t count = 0;
    LL_COUNT(list, retry, count);
    return count;
}

/* Those that could be handed out now. */
static uint64_t ready_count(const struct active_run *run)
{
    return run->end_slot - run->next_slot + count_retries(run->due);
}

uint64_t queue_course_length(const struct queue *queue, const char *course)
{
    uint64_t length = 0;
    const struct active_run *run, *following;
    HASH_ITER (hh, queue->runs, run, following)
        if (strcmp(run->course->name, course) == 0)
            length += run->inserting + ready_count(run) + count_retries(run->delayed);
    return length;
}

/* The place of a slot in a list of retries; false: it is not there. */
static bool find_retry(const struct retry *list, uint32_t slot, uint64_t *place)
{
    const struct retry *retry;
    *place = 0;
    LL_FOREACH (list, retry) {
        if (retry->slot == slot)
            return true;
        ++*place;
    }
    return false;
}

/* The place among the run's own; `is_delayed` tells whether everything else goes first. */
static bool own_place(const struct active_run *run, uint32_t slot, uint64_t *place,
                      bool *is_delayed)
{
    *is_delayed = false;
    if (find_retry(run->due, slot, place))
        return true;
    if (slot >= run->next_slot && slot < run->end_slot) {
        *place = count_retries(run->due) + slot - run->next_slot;
        return true;
    }
    *is_delayed = true;
    return find_retry(run->delayed, slot, place);
}

bool queue_position(const struct queue *queue, const struct active_run *run, uint32_t slot,
                    uint64_t *ahead)
{
    uint64_t before = 0;
    bool is_delayed;
    const struct active_run *other, *following;
    if (!own_place(run, slot, ahead, &is_delayed))
        return false;
    DL_FOREACH (run->course->ready, other) {
        if (other == run && !is_delayed)
            break;
        before += ready_count(other);
    }
    HASH_ITER (hh, queue->runs, other, following)
        if (other->course == run->course)
            before += other->inserting;
    *ahead += before;
    return true;
}
