#include "scheduler/state/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"

uint32_t failed_attempts_total(const struct failed_attempts *failed_attempts)
{
    return failed_attempts->lost + failed_attempts->expired + failed_attempts->undeliverable;
}

void queue_init(struct queue *queue)
{
    memset(queue, 0, sizeof *queue);
}

static void free_retries(struct retry *list)
{
    struct retry *retry, *following;
    LL_FOREACH_SAFE (list, retry, following)
        free(retry);
}

static void free_run(struct active_run *run)
{
    free_retries(run->due);
    free_retries(run->delayed);
    run_clear(&run->run);
    free(run);
}

void queue_destroy(struct queue *queue)
{
    struct active_run *run, *following;
    HASH_ITER (hh, queue->runs, run, following) {
        HASH_DELETE(hh, queue->runs, run);
        free_run(run);
    }
    struct course *course, *next;
    DL_FOREACH_SAFE (queue->courses, course, next)
        free(course);
    queue_init(queue);
}

struct active_run *queue_find(const struct queue *queue, const char *run_id)
{
    struct active_run *run;
    HASH_FIND_STR(queue->runs, run_id, run);
    return run;
}

/* Seed runs are one nameless course. */
static struct course *find_course(struct queue *queue, const char *name)
{
    struct course *course;
    DL_FOREACH (queue->courses, course)
        if (strcmp(course->name, name) == 0)
            return course;
    course = bw_alloc(sizeof *course);
    snprintf(course->name, sizeof course->name, "%s", name);
    course->queue = queue;
    DL_APPEND(queue->courses, course);
    return course;
}

struct active_run *queue_add(struct queue *queue, struct run *run)
{
    struct active_run *added = bw_alloc(sizeof *added);
    added->run = *run;
    run->summary = NULL;
    run->summary_length = 0;
    added->slots = run_job_count(run->has_pre, run->students, run->has_post);
    added->run.summary = bw_grow(added->run.summary, added->slots + 1, 1);
    if (added->run.summary_length < added->slots)
        memset(added->run.summary + added->run.summary_length, 0,
               added->slots - added->run.summary_length);
    added->run.summary_length = added->slots;
    added->order = queue->started++;
    added->course = find_course(queue, run->course);
    HASH_ADD_STR(queue->runs, run.id, added);
    return added;
}

static bool queue_has_job(const struct active_run *run)
{
    return run->due != NULL || run->next_slot < run->end_slot;
}

/* Does `left` come before `right`? */
static bool is_better(const struct active_run *left, const struct active_run *right)
{
    if (left->run.priority != right->run.priority)
        return left->run.priority > right->run.priority;
    if (left->run.started_ms != right->run.started_ms)
        return left->run.started_ms < right->run.started_ms;
    return left->order < right->order;
}

/* Puts the run into its course's list, or takes it out, as its jobs demand. New runs mostly belong
 * at the end. */
static void update_ready(struct active_run *run)
{
    struct course *course = run->course;
    if (run->is_ready == queue_has_job(run))
        return;
    run->is_ready = !run->is_ready;
    if (!run->is_ready) {
        DL_DELETE(course->ready, run);
        return;
    }
    if (course->ready == NULL) { /* it comes back behind those that are there */
        DL_DELETE(course->queue->courses, course);
        DL_APPEND(course->queue->courses, course);
    }
    if (course->ready == NULL || is_better(run, course->ready)) {
        DL_PREPEND(course->ready, run);
        return;
    }
    struct active_run *before = course->ready->prev; /* the last */
    while (is_better(run, before))
        before = before->prev;
    DL_APPEND_ELEM(course->ready, before, run);
}

void queue_remove(struct queue *queue, struct active_run *run)
{
    if (run->is_ready)
        DL_DELETE(run->course->ready, run);
    HASH_DELETE(hh, queue->runs, run);
    free_run(run);
}

void queue_open_slots(struct active_run *run, uint32_t next, uint32_t end)
{
    run->next_slot = next;
    run->end_slot = end;
    update_ready(run);
}

void queue_close(struct active_run *run)
{
    free_retries(run->due);
    free_retries(run->delayed);
    run->due = run->delayed = NULL;
    queue_open_slots(run, run->end_slot, run->end_slot);
}

static enum protocol course_protocol(const struct course *course)
{
    return course->name[0] == '\0' ? PROTOCOL_CLASSIC : PROTOCOL_COURSE;
}

bool queue_peek(const struct queue *queue, enum protocol protocol, struct offer *offer)
{
    const struct course *course;
    DL_FOREACH (queue->courses, course)
        if (course->ready != NULL && course_protocol(course) == protocol)
            break;
    if (course == NULL)
        return false;
    struct active_run *run = course->ready;
    memset(offer, 0, sizeof *offer);
    offer->run = run;
    offer->retry = run->due;
    offer->slot = run->due != NULL ? run->due->slot : run->next_slot;
    offer->attempt = run->due != NULL ? run->due->attempt : 1;
    if (run->due != NULL)
        offer->failed_attempts = run->due->failed_attempts;
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, offer->slot, &kind, &index);
    job_id_make(run->run.id, kind, index, offer->job);
    return true;
}

void queue_take(struct queue *queue, const struct offer *offer)
{
    struct active_run *run = offer->run;
    if (offer->retry != NULL) {
        LL_DELETE(run->due, offer->retry);
        free(offer->retry);
    } else {
        run->next_slot++;
    }
    update_ready(run);
    DL_DELETE(queue->courses, run->course);
    DL_APPEND(queue->courses, run->course);
}

void queue_retry(struct active_run *run, const struct retry *retry, int64_t now_ms)
{
    struct retry *added = bw_alloc(sizeof *added);
    *added = *retry;
    if (retry->due_ms > now_ms) {
        LL_APPEND(run->delayed, added);
        return;
    }
    LL_APPEND(run->due, added);
    update_ready(run);
}

static bool drop_from(struct retry **list, uint32_t slot, struct failed_attempts *failed_attempts)
{
    struct retry *retry;
    LL_SEARCH_SCALAR(*list, retry, slot, slot);
    if (retry == NULL)
        return false;
    if (failed_attempts != NULL)
        *failed_attempts = retry->failed_attempts;
    LL_DELETE(*list, retry);
    free(retry);
    return true;
}

bool queue_drop_retry(struct active_run *run, uint32_t slot,
                      struct failed_attempts *failed_attempts)
{
    bool dropped = drop_from(&run->due, slot, failed_attempts) ||
                   drop_from(&run->delayed, slot, failed_attempts);
    update_ready(run);
    return dropped;
}

static int64_t wake_run(struct active_run *run, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;
    struct retry *retry, *following;
    LL_FOREACH_SAFE (run->delayed, retry, following) {
        if (retry->due_ms > now_ms) {
            next_ms = retry->due_ms < next_ms ? retry->due_ms : next_ms;
            continue;
        }
        LL_DELETE(run->delayed, retry);
        LL_APPEND(run->due, retry);
    }
    update_ready(run);
    return next_ms;
}

int64_t queue_wake(struct queue *queue, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;
    struct active_run *run, *following;
    HASH_ITER (hh, queue->runs, run, following) {
        if (run->delayed == NULL)
            continue;
        int64_t due_ms = wake_run(run, now_ms);
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    return next_ms;
}

static uint64_t retry_count(const struct retry *list)
{
    const struct retry *retry;
    uint64_t count = 0;
    LL_COUNT(list, retry, count);
    return count;
}

uint64_t queue_length(const struct queue *queue)
{
    uint64_t length = 0;
    const struct active_run *run, *following;
    HASH_ITER (hh, queue->runs, run, following)
        length += run->end_slot - run->next_slot + retry_count(run->due) +
                  retry_count(run->delayed);
    return length;
}
