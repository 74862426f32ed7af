#include "tests/simulation/shrink.h"

#include <string.h>

#include "tests/simulation/world.h"

enum { TRIES_MOST = 300 };

struct shrinking {
    const struct plan *plan;
    struct scope scope;     /* the smallest so far */
    struct failure failure; /* in it */
    int tries;
};

void play(const struct plan *plan, const struct scope *scope, struct failure *failure)
{
    struct world *world = world_new(plan, scope, false);
    world_play(world);
    if (failure != NULL)
        *failure = world->checker.failure;
    world_free(world);
}

/* Does the same check fail in this scope too? Then it is the smallest. */
static bool shrink_try(struct shrinking *shrinking, const struct scope *scope)
{
    struct failure failure;
    if (shrinking->tries == TRIES_MOST || memcmp(scope, &shrinking->scope, sizeof *scope) == 0)
        return false;
    shrinking->tries++;
    play(shrinking->plan, scope, &failure);
    if (failure.promise == NULL || strcmp(failure.check, shrinking->failure.check) != 0)
        return false;
    shrinking->scope = *scope;
    shrinking->failure = failure;
    return true;
}

/* Leaves out as many of `count` bits at *mask, a member of the scope, as it can: half of them at
 * once, then fewer. */
static void shrink_bits(struct shrinking *shrinking, size_t member, bool is_wide, int count)
{
    for (int width = count / 2 > 0 ? count / 2 : 1; width > 0; width /= 2)
        for (int first = 0; first < count; first += width) {
            struct scope scope = shrinking->scope;
            char *mask = (char *)&scope + member;
            uint64_t bits = (width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1) << first;
            if (is_wide)
                *(uint64_t *)(void *)mask &= ~bits;
            else
                *(uint32_t *)(void *)mask &= (uint32_t)~bits;
            (void)shrink_try(shrinking, &scope);
        }
}

/* Cuts the time of one kind of fault, from its begin or from its end, by halves. */
static void shrink_time(struct shrinking *shrinking, int kind)
{
    for (int64_t step_ms = QUIET_MS / 2; step_ms >= 1000; step_ms /= 2) {
        struct scope scope = shrinking->scope;
        scope.first_ms[kind] += step_ms;
        (void)shrink_try(shrinking, &scope);
        scope = shrinking->scope;
        scope.last_ms[kind] -= step_ms;
        if (scope.last_ms[kind] > scope.first_ms[kind])
            (void)shrink_try(shrinking, &scope);
    }
}

struct scope shrink(const struct plan *plan, struct failure *failure)
{
    struct shrinking shrinking = {.plan = plan, .scope = scope_whole(), .failure = *failure};
    for (int round = 0; round < 2; round++) {
        shrink_bits(&shrinking, offsetof(struct scope, faults), false, FAULTS);
        shrink_bits(&shrinking, offsetof(struct scope, fault_kinds), false, FAULT_KINDS);
        shrink_bits(&shrinking, offsetof(struct scope, runs), false, RUNS);
        shrink_bits(&shrinking, offsetof(struct scope, graders), true, GRADERS);
        for (int kind = 0; kind < FIRST_PLANNED_FAULT; kind++)
            if ((plan->fault_kinds & shrinking.scope.fault_kinds & 1u << kind) != 0)
                shrink_time(&shrinking, kind);
    }
    *failure = shrinking.failure;
    return shrinking.scope;
}
