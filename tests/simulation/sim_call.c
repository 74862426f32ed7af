#include "tests/simulation/sim_call.h"

#include <stdlib.h>

enum { TIME_OUT_MS = 2000, LEFT_MOST_MS = 3000 };

int64_t sim_call_latency(struct world *world, struct dice *dice)
{
    int64_t latency_ms = dice_between(dice, 1, 8);
    int64_t slow_ms = dice_between(dice, 50, dice_chance(dice, 100) ? 4000 : 600);
    return world_has_fault(world, dice, FAULT_SLOW_CALL, 20) ? slow_ms : latency_ms;
}

static bool sim_call_is_left(const struct sim_call *call)
{
    return *call->incarnation != call->sent_by;
}

static void sim_call_leave(struct world *world, struct sim_call *call)
{
    if (call->left != NULL)
        call->left(world, call);
    if (call->drop != NULL)
        call->drop(&call->task);
    else
        free(call);
}

static void sim_call_answer(struct world *world, struct task *task)
{
    struct sim_call *call = (struct sim_call *)task;
    if (sim_call_is_left(call)) {
        sim_call_leave(world, call);
        return;
    }
    call->is_known = call->is_known && !world->database.is_down;
    call->answered(world, call);
}

static void sim_call_apply(struct world *world, struct task *task)
{
    struct sim_call *call = (struct sim_call *)task;
    bool is_late = dice_chance(call->dice, 300), is_lost = dice_chance(call->dice, 300);
    if (sim_call_is_left(call) && !call->is_left) {
        call->is_left = true;
        if (is_late) {
            world_later(world, dice_between(call->dice, 0, LEFT_MOST_MS), task, sim_call_apply);
            return;
        }
        if (is_lost) {
            sim_call_leave(world, call);
            return;
        }
    }
    bool fails = world_has_fault(world, call->dice, FAULT_LOST_CALL, 10) || world->database.is_down;
    bool is_unheard = world_has_fault(world, call->dice, FAULT_LOST_ANSWER, 10);
    call->is_partly = is_unheard && dice_chance(call->dice, 500);
    if (!fails)
        call->apply(world, call);
    call->is_known = !fails && !is_unheard;
    int64_t answer_ms = call->is_known ? dice_between(call->dice, 1, 4)
                                       : dice_between(call->dice, 5, TIME_OUT_MS);
    world_later(world, answer_ms, task, sim_call_answer);
}

void sim_call_send(struct world *world, struct sim_call *call)
{
    call->task.drop = call->drop;
    call->sent_by = *call->incarnation;
    world_later(world, sim_call_latency(world, call->dice), &call->task, sim_call_apply);
}
