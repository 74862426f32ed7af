/*
 * Frees what the stores' records own. These functions are apart from the stores, so that the
 * scheduler's simulator can link them without the stores. They are declared with the records.
 */
#include <stdlib.h>
#include <string.h>

#include "common/store/job_times_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"

void run_clear(struct run *run)
{
    free(run->keys);
    free(run->summary);
    free(run->reruns);
    free(run->labels);
    free(run->requires);
    run->keys = NULL;
    run->summary = NULL;
    run->reruns = NULL;
    run->labels = NULL;
    run->requires = NULL;
    run->summary_length = run->rerun_count = 0;
}

void signal_clear(struct signal *signal)
{
    free(signal->polls);
    free(signal->gone);
    free(signal->seen);
    free(signal->deliveries);
    free(signal->queries);
    free(signal->watches);
    free(signal->unwatched);
    memset(signal, 0, sizeof *signal);
}

void job_times_records_free(struct job_times_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(records[i].sketch);
    free(records);
}
