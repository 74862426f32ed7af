/*
 * process_metrics: what the operating system knows of this process, under the names that
 * Prometheus's own clients use, and which build it is. Read anew for each scrape; from any thread.
 */
#ifndef COMMON_BASE_PROCESS_METRICS_H
#define COMMON_BASE_PROCESS_METRICS_H

#include <stdio.h>

/* Writes them as Prometheus text. What can't be read is left out. */
void process_metrics_print(FILE *out);

#endif
