/*
 * classic_job_files: the requests of graders for the files of their jobs:
 * GET /api/v1/grading_job/{job}/files/{digest} and POST /api/v1/grading_job/{job}/files. The
 * handlers run on the thread pool, and wait for the database.
 */
#ifndef API_CLASSIC_JOB_FILES_H
#define API_CLASSIC_JOB_FILES_H

#include "api/http/route.h"
#include "common/base/error.h"

/* Their arguments. */
extern const struct json_field classic_job_file_fields[], classic_job_upload_fields[];

/* Handlers: see struct route. */
enum bw_code classic_job_files_show(struct api *api, struct exchange *exchange,
                                    struct bw_error *error) BW_CHECKED;
enum bw_code classic_job_files_store(struct api *api, struct exchange *exchange,
                                     struct bw_error *error) BW_CHECKED;

#endif
