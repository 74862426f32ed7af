#include "scheduler/state/queue_order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "scheduler/state/active_run.h"

enum {
    LEAST_MS = 1000, /* what every job is charged, so that very short ones take turns */
    CREDIT_MS =
        10000, /* or a job: a course that can't be served falls behind twice as much at most */
    LANE_KEY_SIZE = WORKER_TAGS_SIZE + 32
};

static const double new_weight = 1.0 / 8; /* of a job that has ended, in what is usual */

/* ---- The heap of a lane's submitters ---- */

static bool submitter_is_before(const struct submitter *left, const struct submitter *right)
{
    if (left->virtual_ms < right->virtual_ms || left->virtual_ms > right->virtual_ms)
        return left->virtual_ms < right->virtual_ms;
    return left->turn < right->turn;
}

static void heap_set(struct lane *lane, size_t place, struct submitter *submitter)
{
    lane->ready[place - 1] = submitter;
    submitter->place = place;
}

static void heap_rise(struct lane *lane, size_t place, struct submitter *submitter)
{
    for (; place > 1 && submitter_is_before(submitter, lane->ready[place / 2 - 1]); place /= 2)
        heap_set(lane, place, lane->ready[place / 2 - 1]);
    heap_set(lane, place, submitter);
}

static void heap_sink(struct lane *lane, size_t place, struct submitter *submitter)
{
    for (size_t child; (child = 2 * place) <= lane->ready_count; place = child) {
        if (child < lane->ready_count &&
            submitter_is_before(lane->ready[child], lane->ready[child - 1]))
            child++;
        if (!submitter_is_before(lane->ready[child - 1], submitter))
            break;
        heap_set(lane, place, lane->ready[child - 1]);
    }
    heap_set(lane, place, submitter);
}

static void heap_move(struct submitter *submitter)
{
    struct lane *lane = submitter->lane;
    heap_rise(lane, submitter->place, submitter);
    heap_sink(lane, submitter->place, submitter);
}

static void heap_add(struct submitter *submitter)
{
    struct lane *lane = submitter->lane;
    if (lane->ready_count == lane->ready_room) {
        lane->ready_room = lane->ready_room * 2 + 4;
        lane->ready = bw_grow(lane->ready, lane->ready_room, sizeof *lane->ready);
    }
    heap_rise(lane, ++lane->ready_count, submitter);
}

static void heap_remove(struct submitter *submitter)
{
    struct lane *lane = submitter->lane;
    struct submitter *last = lane->ready[lane->ready_count-- - 1];
    if (last != submitter) {
        heap_set(lane, submitter->place, last);
        heap_move(last);
    }
    submitter->place = 0;
}

/* ---- The lists of ready lanes ---- */

bool queue_order_course_is_before(const struct course *left, const struct course *right)
{
    if (left->virtual_ms < right->virtual_ms || left->virtual_ms > right->virtual_ms)
        return left->virtual_ms < right->virtual_ms;
    return left->turn < right->turn;
}

static bool turns_are_before(const struct turns *left, const struct turns *right)
{
    return queue_order_course_is_before(left->course, right->course);
}

static struct turns **turns_list(const struct turns *turns)
{
    const struct course *course = turns->course;
    return &course->order->turns[course->protocol][turns - course->turns];
}

/* The search starts at the end, where a course that comes or was just served belongs. */
static void turns_insert(struct turns *turns)
{
    struct turns **list = turns_list(turns);
    if (*list == NULL || turns_are_before(turns, *list)) {
        DL_PREPEND(*list, turns);
        return;
    }
    struct turns *before = (*list)->prev; /* the last one */
    while (turns_are_before(turns, before))
        before = before->prev;
    DL_APPEND_ELEM(*list, before, turns);
}

/* The course's charge has changed. Whoever is charged more goes back, often to the end; so the
 * search goes from its place and from the end at once. */
static void turns_move(struct turns *turns)
{
    struct turns **list = turns_list(turns), *after = turns, *before = (*list)->prev;
    bool is_first = turns == *list;
    if (!is_first && turns_are_before(turns, turns->prev)) {
        after = turns->prev;
        DL_DELETE(*list, turns);
        while (after != *list && turns_are_before(turns, after->prev))
            after = after->prev;
        DL_PREPEND_ELEM(*list, after, turns);
        return;
    }
    while (after->next != NULL && turns_are_before(after->next, turns) && before != turns &&
           turns_are_before(turns, before)) {
        after = after->next;
        before = before->prev;
    }
    if (after->next != NULL && turns_are_before(after->next, turns))
        after = before; /* the search from the end has found the place */
    if (after == turns)
        return;
    DL_DELETE(*list, turns);
    DL_APPEND_ELEM(*list, after, turns);
}

static bool lane_is_before(const struct lane *left, const struct lane *right)
{
    if (left->priority != right->priority)
        return left->priority > right->priority;
    return left->turn < right->turn;
}

static struct turns *lane_turns(const struct lane *lane)
{
    return &lane->course->turns[run_class_rank(lane->run_class)];
}

/* Into the list of its turns, behind those that go before it, or into that of lanes aside. The
 * search starts at the end, where a lane that comes back or was just served belongs. */
static void lane_insert(struct lane *lane)
{
    struct turns *turns = lane_turns(lane);
    if (lane->is_aside) {
        DL_APPEND(lane->course->order->aside, lane);
        return;
    }
    bool is_new = turns->lanes == NULL;
    if (is_new || lane_is_before(lane, turns->lanes)) {
        DL_PREPEND(turns->lanes, lane);
    } else {
        struct lane *before = turns->lanes->prev; /* the last one */
        while (lane_is_before(lane, before))
            before = before->prev;
        DL_APPEND_ELEM(turns->lanes, before, lane);
    }
    if (is_new)
        turns_insert(turns);
}

static void lane_delete(struct lane *lane)
{
    struct turns *turns = lane_turns(lane);
    if (lane->is_aside) {
        DL_DELETE(lane->course->order->aside, lane);
        return;
    }
    DL_DELETE(turns->lanes, lane);
    if (turns->lanes == NULL)
        DL_DELETE(*turns_list(turns), turns);
}

static void course_begin(struct course *course)
{
    struct queue_order *order = course->order;
    double others_ms = order->virtual_ms[course->protocol];
    course->virtual_ms = others_ms > course->virtual_ms ? others_ms : course->virtual_ms;
    course->turn = ++order->turn;
    course->ready_weight = course->weight;
    order->ready_weight[course->protocol] += course->ready_weight;
}

static void lane_begin(struct lane *lane)
{
    struct course *course = lane->course;
    if (course->ready_lanes++ == 0)
        course_begin(course);
    lane->is_ready = true;
    lane->turn = ++course->order->turn;
    lane_insert(lane);
}

static void lane_end(struct lane *lane)
{
    struct course *course = lane->course;
    lane_delete(lane);
    lane->is_ready = lane->is_aside = false;
    if (--course->ready_lanes > 0)
        return;
    course->order->ready_weight[course->protocol] -= course->ready_weight;
    course->ready_weight = 0;
}

void queue_order_set_aside(struct lane *lane)
{
    lane_delete(lane);
    lane->is_aside = true;
    lane_insert(lane);
}

void queue_order_bring_back(struct queue_order *order)
{
    while (order->aside != NULL) {
        struct lane *lane = order->aside;
        lane_delete(lane);
        lane->is_aside = false;
        lane_insert(lane);
    }
}

/* The course's charge has changed. */
static void course_move(struct course *course)
{
    for (unsigned rank = 0; rank < RUN_CLASSES; rank++)
        if (course->turns[rank].lanes != NULL)
            turns_move(&course->turns[rank]);
}

/* ---- Courses, lanes, submitters ---- */

static struct course *course_find(struct queue_order *order, const struct run *run)
{
    struct course *course;
    char key[sizeof course->key];
    snprintf(key, sizeof key, "%u%s", (unsigned)run->protocol, run->course);
    HASH_FIND_STR(order->courses, key, course);
    if (course != NULL)
        return course;
    course = bw_alloc(sizeof *course);
    course->protocol = run->protocol;
    snprintf(course->name, sizeof course->name, "%s", run->course);
    memcpy(course->key, key, sizeof key);
    course->order = order;
    course->weight = COURSE_WEIGHT_DEFAULT;
    for (unsigned rank = 0; rank < RUN_CLASSES; rank++)
        course->turns[rank].course = course;
    HASH_ADD_STR(order->courses, key, course);
    return course;
}

static struct lane *lane_find(struct course *course, const struct run *run)
{
    struct lane *lane;
    char key[LANE_KEY_SIZE];
    int length = snprintf(key, sizeof key, "%u/%d/", (unsigned)run->run_class, run->priority);
    size_t head = (size_t)length;
    snprintf(key + head, sizeof key - head, "%s", run->requires != NULL ? run->requires : "");
    HASH_FIND_STR(course->lanes, key, lane);
    if (lane != NULL)
        return lane;
    lane = bw_alloc(sizeof *lane + strlen(key) + 1);
    memcpy(lane->key, key, strlen(key) + 1);
    lane->requires = lane->key + head;
    lane->course = course;
    lane->run_class = run->run_class;
    lane->priority = run->priority;
    HASH_ADD_STR(course->lanes, key, lane);
    return lane;
}

static struct submitter *submitter_find(struct lane *lane, const char *name)
{
    struct submitter *submitter;
    HASH_FIND_STR(lane->submitters, name, submitter);
    if (submitter != NULL)
        return submitter;
    submitter = bw_alloc(sizeof *submitter + strlen(name) + 1);
    memcpy(submitter->name, name, strlen(name) + 1);
    submitter->lane = lane;
    HASH_ADD_STR(lane->submitters, name, submitter);
    return submitter;
}

static void lane_free(struct lane *lane)
{
    struct submitter *submitter, *following;
    HASH_ITER (hh, lane->submitters, submitter, following) {
        HASH_DELETE(hh, lane->submitters, submitter);
        free(submitter);
    }
    HASH_DELETE(hh, lane->course->lanes, lane);
    free(lane->ready);
    free(lane->groups);
    free(lane);
}

struct submitter *queue_order_join(struct queue_order *order, const struct active_run *run)
{
    struct lane *lane = lane_find(course_find(order, &run->run), &run->run);
    struct submitter *submitter = submitter_find(lane, run->run.submitter);
    lane->runs++;
    submitter->runs++;
    return submitter;
}

void queue_order_leave(struct submitter *submitter)
{
    struct lane *lane = submitter->lane;
    if (--submitter->runs == 0) {
        HASH_DELETE(hh, lane->submitters, submitter);
        free(submitter);
    }
    if (--lane->runs == 0)
        lane_free(lane);
}

void queue_order_destroy(struct queue_order *order)
{
    struct course *course, *next_course;
    struct lane *lane, *next_lane;
    HASH_ITER (hh, order->courses, course, next_course) {
        HASH_ITER (hh, course->lanes, lane, next_lane)
            lane_free(lane);
        HASH_DELETE(hh, order->courses, course);
        free(course);
    }
    memset(order, 0, sizeof *order);
}

/* ---- Ready runs ---- */

static int64_t place_date(const struct active_run *run)
{
    return run->run.place.started_ms != 0 ? run->run.place.started_ms : run->run.started_ms;
}

static const char *place_run(const struct active_run *run)
{
    return run->run.place.started_ms != 0 ? run->run.place.run : run->run.id;
}

/* The slot, in the run that had the place first, that would come next there. */
static uint32_t place_slot(const struct active_run *run)
{
    if (run->run.place.started_ms != 0)
        return run->run.place.slot;
    return run->due != NULL ? 0 : run->next_slot;
}

/* Whether `left` is handed out before `right`, which has the same submitter. */
static bool run_is_before(const struct active_run *left, const struct active_run *right)
{
    int64_t left_ms = place_date(left), right_ms = place_date(right);
    if (left_ms != right_ms)
        return left_ms < right_ms;
    uint32_t left_slot = place_slot(left), right_slot = place_slot(right);
    if (left_slot != right_slot && strcmp(place_run(left), place_run(right)) == 0)
        return left_slot < right_slot;
    return left->order < right->order;
}

/* Whether a run that is ready has come out of order: the cursor of its run, or of one next to it,
 * has passed a place that another run has taken. */
static bool run_is_misplaced(const struct active_run *run)
{
    bool is_first = run == run->submitter->ready;
    return (run->next != NULL && run_is_before(run->next, run)) ||
           (!is_first && run_is_before(run, run->prev));
}

/* The search starts at the end, where most new runs belong. */
static void run_insert(struct active_run *run)
{
    struct submitter *submitter = run->submitter;
    if (submitter->ready == NULL || run_is_before(run, submitter->ready)) {
        DL_PREPEND(submitter->ready, run);
        return;
    }
    struct active_run *before = submitter->ready->prev; /* the last one */
    while (run_is_before(run, before))
        before = before->prev;
    DL_APPEND_ELEM(submitter->ready, before, run);
}

static void submitter_begin(struct submitter *submitter)
{
    struct lane *lane = submitter->lane;
    if (lane->virtual_ms > submitter->virtual_ms)
        submitter->virtual_ms = lane->virtual_ms;
    submitter->turn = ++lane->course->order->turn;
    heap_add(submitter);
    if (!lane->is_ready)
        lane_begin(lane);
}

static void submitter_end(struct submitter *submitter)
{
    heap_remove(submitter);
    if (submitter->lane->ready_count == 0)
        lane_end(submitter->lane);
}

void queue_order_insert(struct active_run *run)
{
    if (run->is_ready && !run_is_misplaced(run))
        return;
    if (run->is_ready)
        DL_DELETE(run->submitter->ready, run);
    run->is_ready = true;
    run_insert(run);
    if (run->submitter->place == 0)
        submitter_begin(run->submitter);
}

void queue_order_delete(struct active_run *run)
{
    if (!run->is_ready)
        return;
    run->is_ready = false;
    DL_DELETE(run->submitter->ready, run);
    if (run->submitter->ready == NULL)
        submitter_end(run->submitter);
}

/* ---- Turns ---- */

static struct lane *first_from_rank(const struct queue_order *order, enum protocol protocol,
                                    unsigned rank)
{
    for (; rank < RUN_CLASSES; rank++)
        if (order->turns[protocol][rank] != NULL)
            return order->turns[protocol][rank]->lanes;
    return NULL;
}

struct lane *queue_order_first(const struct queue_order *order, enum protocol protocol)
{
    return first_from_rank(order, protocol, 0);
}

struct lane *queue_order_next(const struct lane *lane)
{
    const struct course *course = lane->course;
    const struct turns *turns = lane_turns(lane);
    if (lane->next != NULL)
        return lane->next;
    if (turns->next != NULL)
        return turns->next->lanes;
    return first_from_rank(course->order, course->protocol, run_class_rank(lane->run_class) + 1);
}

struct active_run *queue_order_run(const struct lane *lane)
{
    return lane->ready[0]->ready;
}

double queue_order_usual_ms(const struct course *course)
{
    if (course->usual_ms > 0)
        return course->usual_ms;
    return course->order->usual_ms > 0 ? course->order->usual_ms : LEAST_MS;
}

static double course_charge_ms(const struct course *course, double job_ms)
{
    return job_ms * COURSE_WEIGHT_DEFAULT / course->weight;
}

double queue_order_usual_charge_ms(const struct course *course)
{
    return course_charge_ms(course, queue_order_usual_ms(course));
}

/* Time passes to `step_ms` behind the begin of what is served. */
static void pass_time(double *virtual_ms, double begun_ms, double step_ms)
{
    if (begun_ms + step_ms > *virtual_ms)
        *virtual_ms = begun_ms + step_ms;
}

static int turns_compare(const struct turns *left, const struct turns *right)
{
    return turns_are_before(left, right) ? -1 : turns_are_before(right, left);
}

/* A course is too far behind one that other graders have served, or whose class goes first. It and
 * all others that lag are lifted alike, so that they keep their shares among themselves. */
static void courses_lift(struct queue_order *order, enum protocol protocol, double below_ms,
                         double by_ms)
{
    struct course *course, *following;
    HASH_ITER (hh, order->courses, course, following)
        if (course->protocol == protocol && course->ready_lanes > 0 &&
            course->virtual_ms < below_ms)
            course->virtual_ms += by_ms;
    for (unsigned rank = 0; rank < RUN_CLASSES; rank++)
        DL_SORT(order->turns[protocol][rank], turns_compare);
}

static void course_serve(struct course *course, double job_ms)
{
    struct queue_order *order = course->order;
    enum protocol protocol = course->protocol;
    double credit_ms = course_charge_ms(course, job_ms > CREDIT_MS ? job_ms : CREDIT_MS);
    double lag_ms = order->served_ms[protocol] - course->virtual_ms;
    if (lag_ms > 2 * credit_ms) /* not at each hand-out: it costs time */
        courses_lift(order, protocol, order->served_ms[protocol] - credit_ms, lag_ms - credit_ms);
    pass_time(&order->served_ms[protocol], course->virtual_ms, 0);
    pass_time(&order->virtual_ms[protocol], course->virtual_ms,
              job_ms * COURSE_WEIGHT_DEFAULT / order->ready_weight[protocol]);
    course->virtual_ms += course_charge_ms(course, job_ms);
    course->turn = ++order->turn;
    course_move(course);
}

static void submitter_serve(struct submitter *submitter, double job_ms)
{
    struct lane *lane = submitter->lane;
    pass_time(&lane->virtual_ms, submitter->virtual_ms, job_ms / (double)lane->ready_count);
    submitter->virtual_ms += job_ms;
    submitter->turn = ++lane->course->order->turn;
    heap_move(submitter);
    lane->turn = submitter->turn;
    if (lane->next == NULL || lane->next->priority < lane->priority)
        return; /* nobody is passed over */
    lane_delete(lane);
    lane_insert(lane);
}

void queue_order_set_weight(struct course *course, uint32_t weight)
{
    course->weight = weight;
    if (course->ready_lanes == 0)
        return;
    course->order->ready_weight[course->protocol] += weight - course->ready_weight;
    course->ready_weight = weight;
}

double queue_order_serve(struct active_run *run)
{
    double job_ms = queue_order_usual_ms(run->course);
    course_serve(run->course, job_ms);
    submitter_serve(run->submitter, job_ms);
    return job_ms;
}

static void note_usual(double *usual_ms, double took_ms)
{
    *usual_ms += *usual_ms > 0 ? (took_ms - *usual_ms) * new_weight : took_ms;
}

void queue_order_charge(struct active_run *run, double more_ms)
{
    struct submitter *submitter = run->submitter;
    struct course *course = run->course;
    submitter->virtual_ms += more_ms;
    course->virtual_ms += course_charge_ms(course, more_ms);
    if (submitter->place != 0)
        heap_move(submitter);
    course_move(course);
}

void queue_order_correct(struct active_run *run, double charged_ms, double took_ms)
{
    double cost_ms = took_ms > LEAST_MS ? took_ms : LEAST_MS;
    note_usual(&run->course->usual_ms, cost_ms);
    note_usual(&run->course->order->usual_ms, cost_ms);
    queue_order_charge(run, cost_ms - charged_ms);
}
