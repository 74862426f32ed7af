/*
 * failpoint: named places in the code at which a test makes a process die, stop, sleep or fail.
 * Only the CMake preset `fault` compiles them; in every other build the macros are constants and
 * this module is not linked.
 *
 *   BROADWAY_FAILPOINT=before_callbacks:kill@2,in_renewal:sleep=900
 *   BROADWAY_FAILPOINT_FILE=PATH   the same text in a file, read again whenever it is replaced
 *
 * NAME:ACTION[@N]: kill (SIGKILL to itself), stop (SIGSTOP to itself), sleep=MS, error
 * (FAILPOINT_FAILS is true there). With @N only at the Nth time since it was set, otherwise every
 * time. Each action is written to stderr. Any module may use it, from any thread. It takes a lock,
 * so it does not belong in hot loops.
 */
#ifndef COMMON_BASE_FAILPOINT_H
#define COMMON_BASE_FAILPOINT_H

#include <stdbool.h>

#ifdef BROADWAY_FAILPOINTS

/* Runs the action that is set for `name`, and counts the hit. True: the caller must fail with an
 * error. */
bool failpoint_hit(const char *name);

/* True if an action is set for `name`. Does not count a hit. */
bool failpoint_is_set(const char *name);

#define FAILPOINT(name) ((void)failpoint_hit(name))
#define FAILPOINT_FAILS(name) failpoint_hit(name)
#define FAILPOINT_IS_SET(name) failpoint_is_set(name)

#else

#define FAILPOINT(name) ((void)0)
#define FAILPOINT_FAILS(name) false
#define FAILPOINT_IS_SET(name) false

#endif

#endif
