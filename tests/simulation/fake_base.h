/*
 * fake_base: what stands in for common/base/clock and common/base/log in the simulator: the clock
 * is the world's, and what the scheduler logs goes into the history, if that is kept. And the
 * stand-ins of the stores and of scheduler/io (fake_stores.c, fake_retention.c), by which
 * production code reaches the world.
 */
#ifndef TESTS_SIMULATION_FAKE_BASE_H
#define TESTS_SIMULATION_FAKE_BASE_H

#include <stdbool.h>

#include "common/base/error.h"

struct world;
struct retention;
struct metrics;

/* The world in which time passes from now on. */
void fake_base_use(struct world *world);
struct world *fake_base_world(void);

/* One for all schedulers: nobody reads it. */
struct metrics *fake_base_metrics(void);

/* Gives a scheduler's core its stores. */
void fake_stores_give(struct world *world, int scheduler);

/* Reads and writes take no time, though they may fail: a database job carries them out. */
void fake_stores_at_once(bool is_at_once);

/* What a process removes with. New; retention_free. */
struct retention *fake_stores_retention(int scheduler);

/* An operation of that store: takes its time. BW_UNAVAILABLE: it fails. */
enum bw_code fake_stores_wait(const void *store, struct bw_error *error);

#endif
