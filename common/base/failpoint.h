/*
 * failpoint: named places at which a test makes a process die, stop, dawdle or fail, and guards
 * that a test takes out to see that something notices. Only the CMake preset `fault` has them; in
 * every other build the macros are constants and nothing of this is linked.
 *
 *   BROADWAY_FAILPOINT=before_callbacks:kill@2,in_renewal:sleep=900
 *   BROADWAY_FAILPOINT_FILE=PATH   the same text in a file, read again whenever it is replaced
 *   BROADWAY_MUTANT=NAME           the guard that this process does without
 *
 * NAME:ACTION[@N]: kill (SIGKILL to itself), stop (SIGSTOP to itself), sleep=MS, error
 * (FAILPOINT_FAILS is true there). With @N only at the Nth time since it was set, otherwise every
 * time. What was done is written to stderr. Callers: any module, from any thread; takes a lock, so
 * nothing for hot loops.
 */
#ifndef COMMON_BASE_FAILPOINT_H
#define COMMON_BASE_FAILPOINT_H

#include <stdbool.h>

#ifdef BROADWAY_FAILPOINTS

/* Does what is set for `name`. True: an error is to be made here. */
bool failpoint_hit(const char *name);

/* Is anything set for `name`? Counts nothing. */
bool failpoint_is_set(const char *name);

/* Is `name` the guard that this process does without? */
bool mutant_is(const char *name);

#define FAILPOINT(name) ((void)failpoint_hit(name))
#define FAILPOINT_FAILS(name) failpoint_hit(name)
#define FAILPOINT_IS_SET(name) failpoint_is_set(name)
#define MUTANT(name) mutant_is(name)

#else

#define FAILPOINT(name) ((void)0)
#define FAILPOINT_FAILS(name) false
#define FAILPOINT_IS_SET(name) false
#define MUTANT(name) false

#endif

#endif
