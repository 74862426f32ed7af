#include "scheduler/state/event.h"

#include <stdlib.h>

#include "common/base/alloc.h"

struct event *event_new(enum event_kind kind, int64_t generation)
{
    struct event *event = bw_alloc(sizeof *event);
    event->kind = kind;
    event->generation = generation;
    return event;
}

void event_free(struct event *event)
{
    if (event == NULL)
        return;
    switch (event->kind) {
    case EVENT_RUN_CHANGED:
        run_clear(&event->run);
        break;
    case EVENT_SIGNAL:
        signal_clear(&event->signal);
        break;
    case EVENT_CALLBACK:
        callback_free(event->callback);
        break;
    case EVENT_DB_JOB:
        db_job_free(event->db_job);
        break;
    default:
        break;
    }
    free(event);
}
