/*
 * status_answer: sends the classic protocol's answer to "how is this run?" (run_status.h) as parts
 * (answer_stream.h). Called by its handler, on the thread pool.
 */
#ifndef API_GRADING_STATUS_ANSWER_H
#define API_GRADING_STATUS_ANSWER_H

#include "api/grading/run_facts.h"
#include "api/grading/run_status.h"
#include "common/domain/run_definition.h"

struct api;
struct exchange;

/* Answers. Takes the run, the reference of `definition` (NULL: no students are shown) and the
 * facts. */
void status_answer_send(struct api *api, struct exchange *exchange, const struct run *run,
                        struct definition *definition, const struct run_facts_found *found,
                        const struct run_view *view);

#endif
