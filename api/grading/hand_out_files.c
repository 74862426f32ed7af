#include "api/grading/hand_out_files.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/result_files.h"
#include "common/domain/job_files.h"
#include "common/store/result_store.h"

/* What a result shares, as its files say. New reference: the entry, or null. */
static json_t *find_shared(const char *text)
{
    size_t index;
    json_t *entry, *found = NULL;
    json_auto_t *files = text == NULL ? NULL : json_loads(text, 0, NULL);
    json_array_foreach (files, index, entry) {
        const char *path = json_string_value(json_object_get(entry, "path"));
        if (path != NULL && strcmp(path, RESULT_FILES_SHARED) == 0)
            found = json_incref(entry);
    }
    return found != NULL ? found : json_null();
}

/* Students' jobs are handed out after the result of the job before them is stored. */
static enum bw_code read_shared(struct api *api, struct definition *definition, const char *run,
                                struct bw_error *error)
{
    char job[JOB_ID_SIZE], *text;
    if (!definition_has_pre(definition) || definition_shared(definition) != NULL)
        return BW_OK;
    job_id_make(run, JOB_PRE, 0, job);
    enum bw_code code = result_store_read_files(api->result_store, job, &text, error);
    if (code != BW_OK)
        return code;
    definition_set_shared(definition, find_shared(text));
    free(text);
    return BW_OK;
}

enum bw_code hand_out_files_read(struct api *api, struct definition *definition,
                                 const struct job_id *job, json_t **files, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    if (job->kind == JOB_STUDENT)
        code = read_shared(api, definition, job->run, error);
    if (code == BW_OK)
        *files = job_files_make(definition, job);
    return code;
}
