/* Whose turn it is: classes, courses by weight, submitters, priorities. */
#include "scheduler/state/queue.h"
#include "scheduler/state/queue_position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"

enum { STARTED_MS = 5000, MOST_TEXT = 400, LETTERS = 26 };

static int setup(void **state)
{
    struct queue *queue = bw_alloc(sizeof *queue);
    queue_init(queue);
    *state = queue;
    return 0;
}

static int teardown(void **state)
{
    queue_destroy(*state);
    free(*state);
    return 0;
}

/* A run of a course for a submitter, with `students` jobs to hand out. Its id ends with `letter`.
 */
static struct active_run *add_as(struct queue *queue, char letter, const struct run *like,
                                 const char *course, const char *submitter)
{
    struct run run = *like;
    run.protocol = PROTOCOL_COURSE;
    run.started_ms = STARTED_MS;
    run.requires = like->requires != NULL ? bw_copy(like->requires) : NULL;
    snprintf(run.id, sizeof run.id, "%023d%c", 0, letter);
    snprintf(run.course, sizeof run.course, "%s", course);
    snprintf(run.submitter, sizeof run.submitter, "%s", submitter);
    struct active_run *added = queue_add(queue, &run);
    queue_open_slots(added, 0, run.students);
    return added;
}

static struct active_run *add(struct queue *queue, char letter, uint32_t students,
                              const char *course, const char *submitter)
{
    return add_as(queue, letter, &(struct run){.students = students}, course, submitter);
}

/* Hands out the next job, which takes `took_ms`: its letter; 0: there is none. */
static char serve(struct queue *queue, double took_ms)
{
    struct offer offer;
    if (!queue_peek(queue, PROTOCOL_COURSE, &offer))
        return 0;
    char letter = offer.run->run.id[RUN_ID_LENGTH - 1];
    double charged_ms = queue_take(&offer);
    queue_order_correct(offer.run, charged_ms, took_ms);
    return letter;
}

/* The letters of the next jobs, each of which takes a second. */
static void assert_turns(struct queue *queue, const char *expected)
{
    char text[MOST_TEXT] = "";
    for (size_t i = 0; i < strlen(expected); i++)
        text[i] = serve(queue, 1000);
    assert_string_equal(text, expected);
}

static void better_classes_go_first_whatever_the_course(void **state)
{
    struct queue *queue = *state;
    const struct run batch = {.students = 2, .run_class = RUN_CLASS_BATCH};
    const struct run interactive = {.students = 2, .run_class = RUN_CLASS_INTERACTIVE};
    const struct run exam = {.students = 1, .run_class = RUN_CLASS_EXAM};
    add_as(queue, 'a', &batch, "one", "");
    add(queue, 'b', 2, "one", "");
    add_as(queue, 'c', &interactive, "two", "");
    add_as(queue, 'd', &exam, "one", "");
    assert_turns(queue, "dccbbaa");
}

static void priority_counts_within_its_class(void **state)
{
    struct queue *queue = *state;
    const struct run urgent = {.students = 1, .priority = 100, .run_class = RUN_CLASS_BATCH};
    const struct run late = {.students = 1, .priority = -5};
    add_as(queue, 'a', &urgent, "one", "");
    add_as(queue, 'b', &late, "one", "");
    add(queue, 'c', 1, "one", "");
    assert_turns(queue, "cba");
}

static void count_turns(struct queue *queue, unsigned turns, double took_ms[LETTERS],
                        double had_ms[LETTERS])
{
    for (unsigned i = 0; i < turns; i++) {
        struct offer offer;
        assert_true(queue_peek(queue, PROTOCOL_COURSE, &offer));
        int letter = offer.run->run.id[RUN_ID_LENGTH - 1] - 'a';
        assert_int_equal(serve(queue, took_ms[letter]), 'a' + letter);
        had_ms[letter] += took_ms[letter];
    }
}

static void courses_share_by_their_weights(void **state)
{
    struct queue *queue = *state;
    double took_ms[LETTERS] = {1000, 1000}, had_ms[LETTERS] = {0};
    queue_order_set_weight(add(queue, 'a', 10000, "one", "")->course, 1000);
    add(queue, 'b', 10000, "two", "");
    count_turns(queue, 1100, took_ms, had_ms);
    assert_in_range((unsigned)had_ms[0], 995000, 1005000);
    assert_in_range((unsigned)had_ms[1], 95000, 105000);
}

static void shares_are_of_time_not_of_turns(void **state)
{
    struct queue *queue = *state;
    double took_ms[LETTERS] = {60000, 1000}, had_ms[LETTERS] = {0};
    add(queue, 'a', 10000, "one", "");
    add(queue, 'b', 10000, "two", "");
    count_turns(queue, 6100, took_ms, had_ms);
    assert_true(had_ms[0] / had_ms[1] > 0.95 && had_ms[0] / had_ms[1] < 1.05);
}

static void many_jobs_at_once_keep_the_shares(void **state)
{
    struct queue *queue = *state;
    unsigned handed_out[2] = {0};
    queue_order_set_weight(add(queue, 'a', 1000, "one", "")->course, 300);
    add(queue, 'b', 1000, "two", "");
    for (unsigned i = 0; i < 400; i++) { /* none of them has ended */
        struct offer offer;
        assert_true(queue_peek(queue, PROTOCOL_COURSE, &offer));
        handed_out[offer.run->run.id[RUN_ID_LENGTH - 1] - 'a']++;
        (void)queue_take(&offer);
    }
    assert_int_equal(handed_out[0], 300);
    assert_int_equal(handed_out[1], 100);
}

static void nobody_saves_up_a_rest(void **state)
{
    struct queue *queue = *state;
    add(queue, 'a', 2000, "one", "");
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(serve(queue, 1000), 'a');
    add(queue, 'b', 20, "two", "");
    unsigned of_b = 0;
    for (unsigned i = 0; i < 20; i++)
        of_b += serve(queue, 1000) == 'b';
    assert_in_range(of_b, 9, 11);
}

static void a_course_that_could_not_be_served_saves_little(void **state)
{
    struct queue *queue = *state;
    double took_ms[LETTERS] = {1000, 1000}, had_ms[LETTERS] = {0};
    struct active_run *b = add(queue, 'b', 5000, "two", "");
    add(queue, 'a', 5000, "one", "");
    count_turns(queue, 10, took_ms, had_ms);
    queue_order_set_aside(b->submitter->lane);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(serve(queue, 1000), 'a');
    queue_order_bring_back(&queue->order);
    unsigned in_a_row = 0;
    while (serve(queue, 1000) == 'b')
        in_a_row++;
    assert_in_range(in_a_row, 8, 21);
}

static void submitters_of_a_course_share_equally(void **state)
{
    struct queue *queue = *state;
    add(queue, 'a', 50, "one", "ann");
    add(queue, 'b', 1, "one", "bob");
    add(queue, 'c', 3, "one", "cid");
    add(queue, 'd', 1, "one", "bob");
    assert_turns(queue, "abcadcaca");
}

static void runs_without_a_submitter_are_one_submitters(void **state)
{
    struct queue *queue = *state;
    add(queue, 'a', 3, "one", "");
    add(queue, 'b', 3, "one", "");
    add(queue, 'c', 2, "one", "cid");
    assert_turns(queue, "acacabbb");
}

static void submitters_share_time_too(void **state)
{
    struct queue *queue = *state;
    double took_ms[LETTERS] = {9000, 1000}, had_ms[LETTERS] = {0};
    add(queue, 'a', 10000, "one", "ann");
    add(queue, 'b', 10000, "one", "bob");
    count_turns(queue, 1000, took_ms, had_ms);
    assert_true(had_ms[0] / had_ms[1] > 0.95 && had_ms[0] / had_ms[1] < 1.05);
}

static void other_tags_have_a_lane_of_their_own(void **state)
{
    struct queue *queue = *state;
    char gpu[] = "gpu";
    const struct run special = {.students = 1, .requires = gpu};
    struct active_run *a = add_as(queue, 'a', &special, "one", "");
    struct active_run *b = add(queue, 'b', 1, "one", "");
    assert_ptr_not_equal(a->submitter->lane, b->submitter->lane);
    assert_string_equal(a->submitter->lane->requires, "gpu");
    queue_order_set_aside(a->submitter->lane);
    assert_turns(queue, "b");
    assert_int_equal(serve(queue, 1000), 0);
    queue_order_bring_back(&queue->order);
    assert_turns(queue, "a");
}

static void lanes_and_submitters_end_with_their_last_run(void **state)
{
    struct queue *queue = *state;
    struct active_run *a = add(queue, 'a', 1, "one", "ann"), *b = add(queue, 'b', 1, "one", "ann");
    struct course *course = a->course;
    assert_ptr_equal(a->submitter, b->submitter);
    queue_remove(queue, a);
    assert_int_equal(HASH_COUNT(course->lanes), 1);
    assert_turns(queue, "b");
    queue_remove(queue, b);
    assert_null(course->lanes);
    assert_int_equal(course->ready_lanes, 0);
}

/* Serves all jobs; `positions` were promised before, by letter. */
static void assert_positions_hold(struct queue *queue, const uint64_t positions[LETTERS])
{
    unsigned served = 0;
    bool is_served[LETTERS] = {false};
    for (char letter; (letter = serve(queue, 1000)) != 0; served++) {
        if (!is_served[letter - 'a'])
            assert_int_equal(served, positions[letter - 'a']);
        is_served[letter - 'a'] = true;
    }
}

static void position_is_the_turn_that_comes(void **state)
{
    struct queue *queue = *state;
    uint64_t positions[LETTERS];
    const struct run urgent = {.students = 2, .priority = 1};
    add(queue, 'a', 9, "one", "ann");
    assert_turns(queue, "aa");
    add(queue, 'b', 4, "one", "bob");
    add(queue, 'c', 1, "one", "bob");
    add(queue, 'd', 2, "one", "");
    add_as(queue, 'e', &urgent, "one", "eve");
    struct active_run *run, *following;
    HASH_ITER (hh, queue->runs, run, following)
        assert_true(
            queue_position(run, run->next_slot, &positions[run->run.id[RUN_ID_LENGTH - 1] - 'a']));
    assert_positions_hold(queue, positions);
}

/* The heap against a plain search for the least. */
static void turns_of_many_submitters_are_by_what_they_had(void **state)
{
    struct queue *queue = *state;
    enum { MANY = 200, TURNS = 5000 };
    uint64_t seed = 7;
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        struct run run = {.students = TURNS, .protocol = PROTOCOL_COURSE};
        snprintf(run.id, sizeof run.id, "%024x", i);
        snprintf(run.course, sizeof run.course, "one");
        snprintf(name, sizeof name, "s%u", i);
        snprintf(run.submitter, sizeof run.submitter, "%s", name);
        queue_open_slots(queue_add(queue, &run), 0, TURNS);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct offer offer;
        struct active_run *run, *following;
        assert_true(queue_peek(queue, PROTOCOL_COURSE, &offer));
        HASH_ITER (hh, queue->runs, run, following)
            assert_true(offer.run->submitter->virtual_ms <= run->submitter->virtual_ms);
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        queue_order_correct(offer.run, queue_take(&offer), (double)(seed >> 50) + 1);
    }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return *seed >> 40;
}

/* Courses of many weights, whose jobs end in any order after any time. */
static void turns_of_many_courses_are_by_what_they_had(void **state)
{
    struct queue *queue = *state;
    enum { MANY = 60, TURNS = 6000, RUNNING = 40 };
    struct active_run *running[RUNNING] = {NULL};
    double charged_ms[RUNNING];
    uint64_t seed = 11;
    for (unsigned i = 0; i < MANY * RUN_CLASSES; i++) {
        struct run run = {.students = TURNS, .protocol = PROTOCOL_COURSE};
        run.run_class = (enum run_class)(i % RUN_CLASSES);
        snprintf(run.id, sizeof run.id, "%024x", i);
        snprintf(run.course, sizeof run.course, "c%u", i / RUN_CLASSES);
        struct active_run *added = queue_add(queue, &run);
        queue_order_set_weight(added->course, 10 + i / RUN_CLASSES * 15);
        queue_open_slots(added, 0, i % RUN_CLASSES == RUN_CLASS_EXAM ? TURNS / MANY / 2 : TURNS);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct offer offer;
        struct active_run *run, *following;
        assert_true(queue_peek(queue, PROTOCOL_COURSE, &offer));
        HASH_ITER (hh, queue->runs, run, following)
            if (run->is_ready && run->run.run_class == offer.run->run.run_class)
                assert_true(offer.run->course->virtual_ms <= run->course->virtual_ms);
        unsigned at = (unsigned)(next_random(&seed) % RUNNING);
        if (running[at] != NULL)
            queue_order_correct(running[at], charged_ms[at], (double)(next_random(&seed) % 200000));
        running[at] = offer.run;
        charged_ms[at] = queue_take(&offer);
    }
}

static void lanes_of_equal_priority_take_turns(void **state)
{
    struct queue *queue = *state;
    char gpu[] = "gpu";
    const struct run special = {.students = 4, .requires = gpu};
    add_as(queue, 'a', &special, "one", "");
    add(queue, 'b', 4, "one", "");
    assert_turns(queue, "abababab");
}

/* Hands out the next job of a lane, which takes ten seconds. */
static void serve_lane(const struct lane *lane)
{
    struct offer offer;
    queue_offer(lane, &offer);
    queue_order_correct(offer.run, queue_take(&offer), 10000);
}

/* Five graders work for one course alone; one works for the others. */
static void weights_hold_beside_a_course_with_graders_of_its_own(void **state)
{
    struct queue *queue = *state;
    const struct active_run *a = add(queue, 'a', 20000, "one", "");
    struct active_run *b = add(queue, 'b', 5000, "two", ""),
                      *c = add(queue, 'c', 5000, "three", "");
    queue_order_set_weight(b->course, 1000);
    for (unsigned turn = 0; turn < 1100; turn++) {
        const struct lane *lane = queue_order_first(&queue->order, PROTOCOL_COURSE);
        while (lane->course == a->course)
            lane = queue_order_next(lane);
        serve_lane(lane);
        for (unsigned i = 0; i < 5; i++)
            serve_lane(a->submitter->lane);
    }
    assert_in_range(b->next_slot, 950, 1050);
    assert_in_range(c->next_slot, 50, 150);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(better_classes_go_first_whatever_the_course),
        CASE(priority_counts_within_its_class),
        CASE(courses_share_by_their_weights),
        CASE(shares_are_of_time_not_of_turns),
        CASE(many_jobs_at_once_keep_the_shares),
        CASE(nobody_saves_up_a_rest),
        CASE(a_course_that_could_not_be_served_saves_little),
        CASE(submitters_of_a_course_share_equally),
        CASE(runs_without_a_submitter_are_one_submitters),
        CASE(submitters_share_time_too),
        CASE(other_tags_have_a_lane_of_their_own),
        CASE(lanes_and_submitters_end_with_their_last_run),
        CASE(position_is_the_turn_that_comes),
        CASE(turns_of_many_submitters_are_by_what_they_had),
        CASE(turns_of_many_courses_are_by_what_they_had),
        CASE(lanes_of_equal_priority_take_turns),
        CASE(weights_hold_beside_a_course_with_graders_of_its_own),
    };
    return cmocka_run_group_tests_name("queue_order", tests, NULL, NULL);
}
