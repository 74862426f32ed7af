/*
 * missing_graders: whether any grader of a run's protocol can take jobs, as recorded by the leading
 * scheduler. Read from the database at most once a second; safe from any thread that may wait for
 * the database.
 */
#ifndef API_GRADING_MISSING_GRADERS_H
#define API_GRADING_MISSING_GRADERS_H

#include "api/grading/run_facts.h"
#include "common/db/database.h"
#include "common/domain/protocol_map.h"
#include "common/domain/worker_fault.h"
#include "common/store/run_store.h"

struct missing_graders;

/* Returns a new object, never NULL. Borrows `database` until missing_graders_free. */
struct missing_graders *missing_graders_new(struct database *database);
void missing_graders_free(struct missing_graders *presence); /* NULL is allowed */

enum { WAITING_SIZE = WORKER_FAULT_SIZE + 80 };

/* What the jobs of a run wait for that nobody can run now: `text` with a sentence, or NULL: there
 * is none. That no grader has been alive without a fault for `least_ms`, or that a grader has
 * returned one of them.
 */
const char *missing_graders_waiting(struct missing_graders *presence, const struct run *run,
                                    const struct run_facts_found *found, int64_t least_ms,
                                    char text[WAITING_SIZE]);

#endif
