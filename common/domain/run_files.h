/*
 * run_files: the files of a run, in either protocol: `files`, a list that every job gets, and
 * `student_files`, with one such list per student. The files land in /job/input of a job.
 *
 *     "files": [{"path": "tests/run.sh", "digest": "sha256:..."}],
 *     "student_files": [[{"path": "work.tar", "digest": "sha256:...", "unpack": true}], []]
 *
 * A stored definition has a `size` in each entry as well. Callers: the checks of a submission,
 * run_definition.c, the API's run creation. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_RUN_FILES_H
#define COMMON_DOMAIN_RUN_FILES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/secret.h"
#include "common/domain/job.h"

/* The lists of a run; borrowed. NULL: there is none. */
struct run_files {
    const json_t *files, *student_files;
};

/* The lists of the object that has the keys. */
struct run_files run_files_of(const json_t *object);

/* Checks of the two values, entry by entry, for tables of fields (common/base/json.h). */
enum bw_code run_files_check_list(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error) BW_CHECKED;
enum bw_code run_files_check_lists(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error) BW_CHECKED;

/* Checks what the lists must fulfil together, once their entries were checked: one list for each
 * of `students`; at most FILE_ENTRIES_MAX files in a job; no path in a job is that of another file
 * or of a directory of another. BW_BAD_REQUEST. Takes time in proportion to the entries. */
enum bw_code run_files_check_jobs(const struct run_files *files, size_t students,
                                  struct bw_error *error) BW_CHECKED;

/* How many entries all lists have. */
size_t run_files_count(const struct run_files *files);

/* Writes the digests of all entries, in order: `files`, then the students' lists. */
void run_files_digests(const struct run_files *files, char (*hex)[SHA256_TEXT_SIZE]);

/* Checks the sizes of all entries, in that order. BW_BAD_REQUEST: one is -1, the file is not
 * stored: `course` ("": none) says where to send it. BW_TOO_LARGE: the files of a job are larger
 * than `limit` (0: none) together. */
enum bw_code run_files_check_sizes(const struct run_files *files, const int64_t *sizes,
                                   int64_t limit, const char *course, struct bw_error *error)
    BW_CHECKED;

/* Writes the sizes into the entries. No other thread may read them yet. */
void run_files_set_sizes(const struct run_files *files, const int64_t *sizes);

/* Replaces the lists of `object`, a copy of an object that was stored, by new ones in the form in
 * which they are submitted: of the students' lists those at `count` positions alone. */
void run_files_select(json_t *object, const uint32_t *selected, uint32_t count);

/* The files of a job's hand-out: [{"path": "input/...", "digest", "size", "unpack": true}], `size`
 * and `unpack` where the entry has them. New reference; NULL: the job has no files. */
json_t *run_files_of_job(const struct run_files *files, const struct job_id *job);

#endif
