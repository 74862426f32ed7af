#include "common/domain/job_files.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/text_buffer.h"

json_t *job_files_make(const struct definition *definition, const struct job_id *job)
{
    json_t *list = definition_job_files(definition, job), *shared = definition_shared(definition);
    if (job->kind != JOB_STUDENT || !json_is_object(shared))
        return list;
    if (list == NULL)
        list = json_array();
    json_array_append(list, shared);
    return list;
}

/* `name`: as it is written before the value. */
static char *job_files_add_member(char *payload, unsigned levels, const char *name,
                                  const json_t *value)
{
    if (value == NULL)
        return payload;
    size_t head = strlen(payload) - levels;
    struct text_buffer text = {.bytes = NULL};
    char *written = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    text_buffer_add(&text, payload, head);
    text_buffer_add_text(&text, name);
    text_buffer_add_text(&text, written);
    text_buffer_add_text(&text, payload + head);
    free(written);
    free(payload);
    return text_buffer_take(&text);
}

char *job_files_add(char *payload, unsigned levels, const json_t *files)
{
    return job_files_add_member(payload, levels, ",\"files\":", files);
}

char *job_files_add_image_digests(char *payload, unsigned levels, const json_t *digests)
{
    return job_files_add_member(payload, levels, ",\"image_digests\":", digests);
}

char *job_files_add_traceparent(char *payload, unsigned levels, const char *traceparent)
{
    json_t *value = traceparent[0] != '\0' ? json_string(traceparent) : NULL;
    char *text = job_files_add_member(payload, levels, ",\"traceparent\":", value);
    json_decref(value);
    return text;
}
