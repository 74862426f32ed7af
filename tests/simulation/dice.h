/*
 * dice: the simulator's random numbers: splitmix64. Everybody in the world has dice of his own,
 * made of the seed, a kind and a number, so that leaving out one of them changes no throw of
 * another. Pure.
 */
#ifndef TESTS_SIMULATION_DICE_H
#define TESTS_SIMULATION_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

static inline struct dice dice_make(uint64_t seed, uint64_t kind, uint64_t number)
{
    return (struct dice){dice_mix(dice_mix(dice_mix(seed) + kind) + number)};
}

static inline uint64_t dice_throw(struct dice *dice)
{
    dice->state += 0x9E3779B97F4A7C15u;
    return dice_mix(dice->state);
}

/* From `least` to `most`, both included. */
static inline int64_t dice_between(struct dice *dice, int64_t least, int64_t most)
{
    return least + (int64_t)(dice_throw(dice) % (uint64_t)(most - least + 1));
}

/* True in `per_mille` of a thousand cases. */
static inline bool dice_chance(struct dice *dice, int64_t per_mille)
{
    return (int64_t)(dice_throw(dice) % 1000) < per_mille;
}

#endif
