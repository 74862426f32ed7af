/*
 * webhook_recording: records events as deliveries, one for each webhook that wants them: those of
 * the cluster, and of the run and its course. Called by the database jobs, from any of their
 * threads; waits for the database.
 */
#ifndef SCHEDULER_IO_WEBHOOK_RECORDING_H
#define SCHEDULER_IO_WEBHOOK_RECORDING_H

#include "common/store/webhook_delivery_store.h"
#include "common/store/webhook_store.h"
#include "scheduler/state/webhook_event.h"

struct metrics;

/* Where events are recorded; borrowed during the call. */
struct webhook_recording {
    struct webhook_store *webhooks;
    struct webhook_delivery_store *deliveries;
    struct metrics *metrics;
};

/* Records the events, which are all about the same run, or about none. What is recorded already
 * stays as it is. *count: how many deliveries they have. BW_OK, also if nobody wants them;
 * BW_UNAVAILABLE: repeat it. */
enum bw_code webhook_recording_insert(const struct webhook_recording *recording,
                                      const struct webhook_event_list *events, size_t *count,
                                      struct bw_error *error) BW_CHECKED;

#endif
