/*
 * course_job_files: the requests of graders for the files of their jobs:
 * GET /api/v1/grading_job/{worker}/{job}/files/{digest} and
 * POST /api/v1/grading_job/{worker}/{job}/files. The handlers run on the thread pool, and wait
 * for the database.
 */
#ifndef API_COURSE_JOB_FILES_H
#define API_COURSE_JOB_FILES_H

#include "api/http/route.h"
#include "common/base/error.h"

/* Handlers: see struct route. */
enum bw_code course_job_files_show(struct api *api, struct exchange *exchange,
                                   struct bw_error *error) BW_CHECKED;
enum bw_code course_job_files_store(struct api *api, struct exchange *exchange,
                                    struct bw_error *error) BW_CHECKED;

#endif
