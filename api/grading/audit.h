/*
 * audit: records who did what. Each request of a client or of a course's staff that changes
 * something, and that is answered with success, has an entry in the collection audit, which is
 * durable before the answer is sent. Refused requests have none, except those that were carried out
 * nevertheless (exchange_carried_out); graders' requests have none.
 *
 * The table in audit.c names the action of each such route. A new route needs a row there
 * (test_api_audit.c fails otherwise), and nothing else: the HTTP server calls audit_record with the
 * complete answer. The entry of a new run is written beside the run itself, by run_creation. Safe
 * from any thread; nothing here waits.
 */
#ifndef API_GRADING_AUDIT_H
#define API_GRADING_AUDIT_H

#include <stdbool.h>

#include "api/http/route.h"
#include "common/store/audit_store.h"
#include "common/store/run_store.h"

struct exchange;

/* The action of run_creation, which writes its entry itself. */
#define AUDIT_RUN_CREATE "run.create"

/* The name of the action of a route, by its method and its pattern; NULL: it has none. Static. For
 * tests. */
const char *audit_action_of(const char *method, const char *path);

/* Whether a request may have that action: else *error lists the actions that there are, after
 * `path`. BW_BAD_REQUEST. */
enum bw_code audit_action_check(const char *action, const char *path, struct bw_error *error);

/* Whether a route's requests are recorded: those of clients that are no reads. For tests. */
bool audit_is_recorded(const struct route *route);

/* Fills an entry for the creation of a run by a request. */
void audit_fill_run(struct api *api, struct exchange *exchange, const struct run *run,
                    struct audit_entry *entry);

/* Stores an entry; counts it. `commit->entry` is filled. */
void audit_insert(struct api *api, struct audit_commit *commit);

/* Counts an entry that is stored, or could not be stored. Called by `completed` of a commit. */
void audit_count(struct api *api, bool is_stored);

/* For http_hooks.record. True: the entry is being stored, and exchange_release follows. */
bool audit_record(struct api *api, struct exchange *exchange);

#endif
