#include "api/grading/result_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/domain/file_entry.h"
#include "common/store/file_store.h"
#include "common/store/run_store.h"

#define ARTIFACTS "artifacts/"

/* ---- Types ---- */

static const struct json_field result_file_fields[] = {
    {.name = "path", .kind = FIELD_STRING, .is_required = true},
    {.name = "digest", .kind = FIELD_STRING, .is_required = true},
    {.name = "unpack", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

enum bw_code result_files_check(const json_t *files, const char *path, struct bw_error *error)
{
    size_t index;
    json_t *file;
    enum bw_code code = files != NULL ? json_check_list(files, path, error) : BW_OK;
    if (code != BW_OK)
        return code;
    json_array_foreach (files, index, file) {
        char at[64];
        snprintf(at, sizeof at, "%s[%zu]", path, index);
        code = json_check(file, result_file_fields, at, NULL, error);
        if (code != BW_OK)
            break;
    }
    return code;
}

/* ---- What can be kept ---- */

/* The entries that are kept so far, and the first reason why one is not. */
struct result_files {
    const struct job_id *job;
    struct file_entry *entries;
    char (*hex)[SHA256_TEXT_SIZE];
    int64_t *sizes;
    size_t count, left_out;
    json_t *paths; /* those that are taken: an object */
    char reason[160];
};

static void result_files_init(struct result_files *files, const struct job_id *job, size_t count)
{
    *files = (struct result_files){.job = job, .paths = json_object()};
    files->entries = bw_alloc_array(count + 1, sizeof *files->entries);
    files->hex = bw_alloc_array(count + 1, sizeof *files->hex);
    files->sizes = bw_alloc_array(count + 1, sizeof *files->sizes);
}

static void result_files_destroy(struct result_files *files)
{
    free(files->entries);
    free(files->hex);
    free(files->sizes);
    json_decref(files->paths);
}

static void result_files_leave_out(struct result_files *files, const char *path, const char *why)
{
    char shown[80];
    if (files->left_out++ == 0)
        snprintf(files->reason, sizeof files->reason, "'%s' %s",
                 text_show(path, shown, sizeof shown), why);
}

/* NULL: the entry may be kept under its path. */
static const char *result_files_find_fault(const struct result_files *files,
                                           const struct file_entry *entry)
{
    struct bw_error unused;
    bool is_shared = strcmp(entry->path, RESULT_FILES_SHARED) == 0;
    if (is_shared && files->job->kind != JOB_PRE)
        return "is for the job before the students alone";
    if (!is_shared && strncmp(entry->path, ARTIFACTS, sizeof ARTIFACTS - 1) != 0)
        return "is not below artifacts";
    if (file_path_check(entry->path, "path", &unused) != BW_OK)
        return "is no path";
    if (json_object_get(files->paths, entry->path) != NULL)
        return "is there twice";
    return files->count == FILE_ENTRIES_MAX ? "is one file too many" : NULL;
}

static void result_files_add(struct result_files *files, const json_t *value)
{
    struct file_entry entry;
    const char *path = json_string_value(json_object_get(value, "path"));
    if (!file_entry_load(value, &entry)) {
        result_files_leave_out(files, path, "has no sha256 digest");
        return;
    }
    const char *fault = result_files_find_fault(files, &entry);
    if (fault != NULL) {
        result_files_leave_out(files, path, fault);
        return;
    }
    memcpy(files->hex[files->count], entry.hex, sizeof entry.hex);
    files->entries[files->count++] = entry;
    json_object_set_new(files->paths, path, json_true());
}

/* ---- What is stored ---- */

static json_t *result_files_pack(const struct file_entry *entry, int64_t size)
{
    char digest[FILE_DIGEST_SIZE];
    json_t *packed = json_pack("{s:s,s:s,s:I}", "path", entry->path, "digest",
                               file_digest_format(entry->hex, digest), "size", (json_int_t)size);
    if (entry->is_unpacked || strcmp(entry->path, RESULT_FILES_SHARED) == 0)
        json_object_set_new(packed, "unpack", json_true());
    return packed;
}

/* The list of the entries whose files are stored. New, free(); NULL: there are none. */
static char *result_files_write(struct result_files *files)
{
    json_auto_t *list = json_array();
    for (size_t i = 0; i < files->count; i++) {
        if (files->sizes[i] < 0)
            result_files_leave_out(files, files->entries[i].path, "was not stored before");
        else
            json_array_append_new(list, result_files_pack(&files->entries[i], files->sizes[i]));
    }
    return json_array_size(list) == 0 ? NULL : json_dumps(list, JSON_COMPACT);
}

/* Records the uses. Of a run that has just been removed no file is kept. */
static enum bw_code result_files_use(struct api *api, struct result_files *files,
                                     struct bw_error *error)
{
    struct run run;
    const char *id = files->job->run;
    for (size_t i = 0; i < files->count; i++)
        files->sizes[i] = -1;
    enum bw_code code = run_store_read(api->run_store, id, &run, error);
    if (code == BW_NOT_FOUND)
        return BW_OK;
    if (code != BW_OK)
        return code;
    code = file_store_use(api->file_store, id, run.course,
                          (const char(*)[SHA256_TEXT_SIZE])files->hex, files->count, files->sizes,
                          error);
    run_clear(&run);
    return code;
}

enum bw_code result_files_keep(struct api *api, const struct job_id *job, const json_t *files,
                               char **text, char note[RESULT_FILES_NOTE_SIZE],
                               struct bw_error *error)
{
    struct result_files kept;
    size_t index, total = json_array_size(files);
    json_t *value;
    result_files_init(&kept, job, total);
    json_array_foreach (files, index, value)
        result_files_add(&kept, value);
    enum bw_code code = kept.count > 0 ? result_files_use(api, &kept, error) : BW_OK;
    if (code == BW_OK) {
        *text = result_files_write(&kept);
        note[0] = '\0';
        if (kept.left_out > 0)
            snprintf(note, RESULT_FILES_NOTE_SIZE, "%zu of %zu files left out: %s", kept.left_out,
                     total, kept.reason);
    }
    result_files_destroy(&kept);
    return code;
}
