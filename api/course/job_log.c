#include "api/course/job_log.h"

#include <stdlib.h>
#include <string.h>

#include "api/course/envelope.h"
#include "api/api.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/store/log_store.h"
#include "common/store/result_store.h"

enum {
    SLICE_BYTES = 16 * 1024, /* bytes of a log that are escaped at once; a byte becomes up to six */
    LOG_TEXTS = 2,
    COPIES = 8 /* copies of both texts while they are read: the driver's buffer and reply, which
                  grow by doubling, and ours */
};

/* The members of the answer, in order. */
enum log_step { LOG_BEGIN, LOG_STDERR, LOG_NOTE, LOG_STDOUT, LOG_END };

struct course_log {
    struct log_store *store;
    struct result_store *results;
    struct result result;
    size_t max_log_bytes;
    bool is_read;
    char *err, *out; /* own; NULL: there is none, or it has been sent */
    char *files;     /* own: the list of the result's files, as JSON; NULL: none */
    size_t err_length, out_length, sent;
    bool ends_line; /* the stderr ends with a line feed, or is empty */
    enum log_step step;
};

static enum bw_code course_log_read(struct course_log *log, struct bw_error *error)
{
    enum bw_code code = BW_NOT_FOUND;
    if (log->result.digest[0] != '\0')
        code = log_store_read(log->store, log->result.job, log->result.digest, &log->out, &log->err,
                              NULL, error);
    if (code == BW_OK || code == BW_NOT_FOUND)
        code = result_store_read_files(log->results, log->result.job, &log->files, error);
    if (code != BW_OK)
        return code;
    if (log->err == NULL)
        log->err = bw_copy(log->result.reason);
    log->err_length = strlen(log->err);
    log->out_length = log->out != NULL ? strlen(log->out) : 0;
    log->ends_line = log->err_length == 0 || log->err[log->err_length - 1] == '\n';
    log->is_read = true;
    return BW_OK;
}

/* Adds the next slice of a text. True: that was the last one, and the text is freed. */
static bool course_log_add(struct course_log *log, char **text, size_t length,
                           struct text_buffer *part)
{
    size_t rest = length - log->sent, slice = rest < SLICE_BYTES ? rest : SLICE_BYTES;
    if (*text != NULL)
        text_buffer_add_escaped(part, *text + log->sent, slice);
    log->sent += slice;
    if (log->sent < length)
        return false;
    log->sent = 0;
    free(*text);
    *text = NULL;
    return true;
}

/* Adds the note on a line of its own, after the stderr. */
static void course_log_add_note(const struct course_log *log, struct text_buffer *part)
{
    const char *note = log->result.note;
    if (note[0] == '\0')
        return;
    text_buffer_add_text(part, log->ends_line ? "[" : "\\n[");
    text_buffer_add_escaped(part, note, strlen(note));
    text_buffer_add_text(part, "]\\n");
}

/* Adds the files, and what follows. */
static void course_log_add_end(const struct course_log *log, struct text_buffer *part)
{
    text_buffer_add_text(part, "\"");
    if (log->files != NULL) {
        text_buffer_add_text(part, ",\"files\":");
        text_buffer_add_text(part, log->files);
    }
    text_buffer_add_text(part, "}" COURSE_SUCCESS_AFTER);
}

static enum bw_code course_log_produce(void *context, struct text_buffer *part, bool *is_last,
                                       struct bw_error *error)
{
    struct course_log *log = context;
    bool is_done = true;
    switch (log->step) {
    case LOG_BEGIN: {
        enum bw_code code = course_log_read(log, error);
        if (code != BW_OK)
            return code;
        text_buffer_add_text(part, COURSE_SUCCESS_BEFORE "{\"stderr\":\"");
        break;
    }
    case LOG_STDERR:
        is_done = course_log_add(log, &log->err, log->err_length, part);
        break;
    case LOG_NOTE:
        course_log_add_note(log, part);
        text_buffer_add_text(part, "\",\"stdout\":\"");
        break;
    case LOG_STDOUT:
        is_done = course_log_add(log, &log->out, log->out_length, part);
        break;
    case LOG_END:
        course_log_add_end(log, part);
        break;
    }
    *is_last = log->step == LOG_END;
    log->step += is_done;
    return BW_OK;
}

static void course_log_release(void *context)
{
    struct course_log *log = context;
    free(log->err);
    free(log->out);
    free(log->files);
    free(log);
}

static size_t course_log_held(const void *context)
{
    const struct course_log *log = context;
    return (log->err != NULL ? log->err_length : 0) + (log->out != NULL ? log->out_length : 0);
}

static size_t course_log_needed(const void *context)
{
    const struct course_log *log = context;
    return log->is_read ? 0 : COPIES * LOG_TEXTS * log->max_log_bytes;
}

void course_log_send(struct api *api, struct exchange *exchange, const struct result *result)
{
    struct course_log *log = bw_alloc(sizeof *log);
    log->store = api->log_store;
    log->results = api->result_store;
    log->result = *result;
    log->max_log_bytes = (size_t)api->options->max_log_bytes;
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = course_log_produce,
                                               .release = course_log_release,
                                               .held = course_log_held,
                                               .needed = course_log_needed,
                                               .context = log});
}
