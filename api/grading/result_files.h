/*
 * result_files: the files that a grader's result names:
 *
 *     [{"path": "artifacts/report.html", "digest": "sha256:…"},
 *      {"path": "shared", "digest": "sha256:…", "unpack": true}]
 *
 * `artifacts/…` is kept with the result. `shared`, only in the result of the job before the
 * students, is a tar archive that all students' jobs get. A result is never lost because of its
 * files: an entry that can't be kept is left out, and the result's note says so. Callers: the
 * handlers of results check the types, result_submission does the rest.
 */
#ifndef API_GRADING_RESULT_FILES_H
#define API_GRADING_RESULT_FILES_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/job.h"

struct api;

enum { RESULT_FILES_NOTE_SIZE = 256 };

/* The path of what the job before the students shares with theirs. */
#define RESULT_FILES_SHARED "shared"

/* Checks the types of `files`: a list of objects with the strings "path" and "digest", and perhaps
 * the boolean "unpack". NULL is no list, and fine. BW_BAD_REQUEST; `path` as for json_check. Pure;
 * safe from any thread. */
enum bw_code result_files_check(const json_t *files, const char *path, struct bw_error *error)
    BW_CHECKED;

/* Records that the job's run uses the files that can be kept, and makes the text that is stored
 * with the result: the list of these, with their sizes. *text is new (free()); NULL: none can be
 * kept. `note` says what was left out; "": nothing. `files` was checked. BW_UNAVAILABLE: to be
 * tried again. Waits; may be repeated. */
enum bw_code result_files_keep(struct api *api, const struct job_id *job, const json_t *files,
                               char **text, char note[RESULT_FILES_NOTE_SIZE],
                               struct bw_error *error) BW_CHECKED;

#endif
