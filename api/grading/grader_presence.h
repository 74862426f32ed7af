/*
 * grader_presence: what a run waits for: whether any grader of its protocol is alive, as the
 * scheduler that leads has recorded it. Read from the database at most once a second; safe from any
 * thread that may wait for the database.
 */
#ifndef API_GRADING_GRADER_PRESENCE_H
#define API_GRADING_GRADER_PRESENCE_H

#include "common/db/database.h"
#include "common/domain/protocol.h"
#include "common/store/run_store.h"

struct grader_presence;

/* Never NULL; grader_presence_free. */
struct grader_presence *grader_presence_new(struct database *database);
void grader_presence_free(struct grader_presence *presence); /* NULL is fine */

/* The sentence for a run that has jobs waiting, once it has waited `least_ms` without a grader of
 * its protocol; static. NULL: there is a grader, or nothing is known. */
const char *grader_presence_missing(struct grader_presence *presence, const struct run *run,
                                    int64_t least_ms);

#endif
