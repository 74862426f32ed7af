/*
 * hand_out_files: the files of a job that is handed out: those of the run's definition, and, in
 * students' jobs, what the job before them shared. That is read from its stored result, which any
 * replica may have stored, once per cached definition. Callers: hand_outs, job_file_requests. Waits
 * for the database: on the thread pool.
 */
#ifndef API_GRADING_HAND_OUT_FILES_H
#define API_GRADING_HAND_OUT_FILES_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/run_definition.h"

struct api;

/* The list of common/domain/job_files.h. *files is a new reference; NULL: the job has none. BW_OK,
 * BW_UNAVAILABLE. */
enum bw_code hand_out_files_read(struct api *api, struct definition *definition,
                                 const struct job_id *job, json_t **files, struct bw_error *error)
    BW_CHECKED;

#endif
