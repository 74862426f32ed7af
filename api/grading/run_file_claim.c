#include "api/grading/run_file_claim.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/domain/run_files.h"
#include "common/store/file_store.h"

enum { FILES_AT_ONCE = 1000 };

/* The digests of a run's entries, and each of them once: many entries may name one file. */
struct claimed_files {
    size_t entries, count;
    char (*hex)[SHA256_TEXT_SIZE];  /* by entry */
    char (*once)[SHA256_TEXT_SIZE]; /* sorted */
    int64_t *sizes;                 /* of `once` */
};

static int compare_digests(const void *left, const void *right)
{
    return strcmp(left, right);
}

static void claimed_files_open(struct claimed_files *files, const struct run_files *lists)
{
    size_t count = run_files_count(lists);
    *files = (struct claimed_files){.entries = count,
                                    .hex = bw_alloc_array(count, sizeof *files->hex),
                                    .once = bw_alloc_array(count, sizeof *files->once),
                                    .sizes = bw_alloc_array(count, sizeof *files->sizes)};
    run_files_digests(lists, files->hex);
    memcpy(files->once, files->hex, count * sizeof *files->once);
    qsort(files->once, count, sizeof *files->once, compare_digests);
    for (size_t i = 0; i < count; i++)
        if (files->count == 0 || strcmp(files->once[files->count - 1], files->once[i]) != 0)
            memmove(files->once[files->count++], files->once[i], sizeof *files->once);
}

static void claimed_files_close(struct claimed_files *files)
{
    free(files->hex);
    free(files->once);
    free(files->sizes);
}

/* Reads the sizes of all files; with `run`, writes its uses before. */
static enum bw_code claimed_files_read(struct claimed_files *files, struct file_store *store,
                                       const char *run, const char *course, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (size_t first = 0; code == BW_OK && first < files->count; first += FILES_AT_ONCE) {
        size_t left = files->count - first, count = left < FILES_AT_ONCE ? left : FILES_AT_ONCE;
        const char(*hex)[SHA256_TEXT_SIZE] = (const char(*)[SHA256_TEXT_SIZE])(files->once + first);
        int64_t *sizes = files->sizes + first;
        code = run == NULL ? file_store_sizes(store, course, hex, count, sizes, error)
                           : file_store_use(store, run, course, hex, count, sizes, error);
    }
    return code;
}

/* The sizes by entry; free(). */
static int64_t *claimed_files_spread(const struct claimed_files *files)
{
    int64_t *sizes = bw_alloc_array(files->entries, sizeof *sizes);
    for (size_t i = 0; i < files->entries; i++) {
        const char(*found)[SHA256_TEXT_SIZE] = bsearch(files->hex[i], files->once, files->count,
                                                       sizeof *files->once, compare_digests);
        sizes[i] = files->sizes[found - (const char(*)[SHA256_TEXT_SIZE])files->once];
    }
    return sizes;
}

/* Checks the sizes that were read, and enters them if `is_final`. */
static enum bw_code claimed_files_check(const struct claimed_files *files, struct api *api,
                                        const struct run_file_claim *claim, bool is_final,
                                        struct bw_error *error)
{
    const struct run_files lists = definition_files(claim->definition);
    int64_t *sizes = claimed_files_spread(files);
    enum bw_code code = run_files_check_sizes(&lists, sizes, api->options->max_job_files_bytes,
                                              claim->course, error);
    if (code == BW_OK && is_final)
        run_files_set_sizes(&lists, sizes);
    free(sizes);
    return code;
}

enum bw_code run_file_claim_take(struct api *api, const struct run_file_claim *claim,
                                 struct bw_error *error)
{
    const struct run_files lists = definition_files(claim->definition);
    struct claimed_files files;
    claimed_files_open(&files, &lists);
    enum bw_code code = claimed_files_read(&files, api->file_store, NULL, claim->course, error);
    if (code == BW_OK)
        code = claimed_files_check(&files, api, claim, false, error);
    if (code == BW_OK)
        code = claimed_files_read(&files, api->file_store, claim->run, claim->course, error);
    if (code == BW_OK)
        code = claimed_files_check(&files, api, claim, true, error);
    claimed_files_close(&files);
    return code;
}
