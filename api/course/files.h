/*
 * course/files: the endpoints for a course's files. May wait for the database (ROUTE_BLOCKING).
 * Called by dispatch alone, see api/http/route.h: the course's token has been checked.
 */
#ifndef API_COURSE_FILES_H
#define API_COURSE_FILES_H

#include "api/http/route.h"

/* POST files/{course} → {"digest", "size"} */
enum bw_code course_files_store(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET files/{course}/{id} → the file's bytes */
enum bw_code course_files_show(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
