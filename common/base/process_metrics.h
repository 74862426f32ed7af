/*
 * process_metrics: the operating system's figures of this process, under the names that
 * Prometheus's own clients use, and the build. Read for each scrape; safe from any thread.
 */
#ifndef COMMON_BASE_PROCESS_METRICS_H
#define COMMON_BASE_PROCESS_METRICS_H

#include <stdio.h>

/* Writes them as Prometheus text. Figures that can't be read are omitted. */
void process_metrics_print(FILE *out);

#endif
