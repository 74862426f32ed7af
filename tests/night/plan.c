#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dice(uint64_t *seed)
{
    *seed += 0x9E3779B97F4A7C15U;
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Of every course ever more come, most in the last minutes. */
static int64_t arrival(uint64_t *seed)
{
    return (int64_t)(HOUR_MS * (1 - pow(dice(seed), 1.8)));
}

/* Most jobs take some seconds, a few minutes. */
static int64_t duration(uint64_t *seed)
{
    double normal = sqrt(-2 * log(1 - dice(seed))) * cos(6.283185307179586 * dice(seed));
    double takes_ms = 24000 * exp(0.7 * normal);
    return takes_ms > LIMIT_MS ? LIMIT_MS : (int64_t)takes_ms + 1;
}

/* The two courses whose shares are measured have as much as fills an hour. */
static unsigned course_of(uint64_t *seed)
{
    static const unsigned parts[COURSES] = {36, 10, 2, 6, 6, 6, 6, 6, 6, 6, 5, 5};
    double at = dice(seed) * 100;
    for (unsigned course = 0; course < COURSES; course++) {
        at -= parts[course];
        if (at < 0)
            return course;
    }
    return COURSES - 1;
}

static int by_time(const void *left, const void *right)
{
    const struct submission *one = left, *other = right;
    return (one->at_ms > other->at_ms) - (one->at_ms < other->at_ms);
}

void plan_make(uint64_t seed, struct plan *plan)
{
    uint64_t state = seed * 1000003;
    memset(plan, 0, sizeof *plan);
    plan->seed = seed;
    for (unsigned i = 0; i < SUBMISSIONS; i++) {
        struct submission *next = &plan->submissions[i];
        bool is_flood = i < FLOOD;
        next->course = is_flood ? FLOODED_COURSE : course_of(&state);
        next->student = is_flood ? FLOODER : (unsigned)(dice(&state) * STUDENTS);
        next->at_ms = is_flood ? FLOOD_MS : arrival(&state);
        next->takes_ms = next->course == LOOPING_COURSE ? LIMIT_MS : duration(&state);
    }
    qsort(plan->submissions, SUBMISSIONS, sizeof *plan->submissions, by_time);
    for (unsigned course = 0; course < COURSES; course++)
        plan->weights[course] = course == LARGE_COURSE ? 1000 : 100;
    for (unsigned i = 0; i < DYING; i++)
        plan->dies_ms[i] = (int64_t)(HOUR_MS * (0.2 + 0.7 * dice(&state)));
}
