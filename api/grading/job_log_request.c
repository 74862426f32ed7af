#include "api/grading/job_log_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/job_log.h"
#include "api/grading/log_chunk_request.h"
#include "api/grading/log_streams.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "api/options.h"
#include "common/base/alloc.h"

enum {
    TAIL_MAX = 100 * 1000,
    SLICE_BYTES = 16 * 1024, /* bytes that are escaped at once; a byte becomes up to six */
    COPIES = 8 /* copies of a stream while it is read: the driver's, the pieces and the text */
};

/* ---- Arguments ---- */

struct log_range {
    int64_t from, to; /* bytes; `to` is not included */
};

/* "<from>-<last>" or "<from>-", as in HTTP. */
static bool log_range_parse(const char *text, struct log_range *range)
{
    enum { MOST_DIGITS = 12 };
    size_t first = strspn(text, "0123456789");
    if (first == 0 || first > MOST_DIGITS || text[first] != '-')
        return false;
    const char *last = text + first + 1;
    size_t digits = strspn(last, "0123456789");
    if (last[digits] != '\0' || digits > MOST_DIGITS)
        return false;
    range->from = strtoll(text, NULL, 10);
    range->to = digits > 0 ? strtoll(last, NULL, 10) + 1 : LOG_STREAM_MAX;
    return range->from < range->to;
}

static enum bw_code log_range_check(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    struct log_range unused;
    char shown[80];
    (void)context;
    if (log_range_parse(json_string_value(value), &unused))
        return BW_OK;
    return bw_fail(
        error, BW_BAD_REQUEST,
        "%s: must be the offsets of the first and the last byte, like 0-65535, or of the "
        "first alone, like 65536-, not '%s'",
        path, text_show(json_string_value(value), shown, sizeof shown));
}

const struct json_field job_log_fields[] = {
    {.name = "stream", .kind = FIELD_STRING, .is_required = true, .check = log_stream_check},
    {.name = "tail", .kind = FIELD_INTEGER, .minimum = 1, .maximum = TAIL_MAX},
    {.name = "range", .kind = FIELD_STRING, .check = log_range_check},
    {.name = "follow", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

/* ---- The answer ---- */

struct log_answer {
    struct api *api;
    struct job_log_state state;
    int64_t tail; /* lines; 0: the range counts */
    struct log_range range;
    const char *before, *after;
    bool is_read;
    struct text_buffer text;
    size_t sent;
};

/* Reads the log, makes the text, and writes what precedes it. */
static enum bw_code log_answer_begin(struct log_answer *answer, struct text_buffer *part,
                                     struct bw_error *error)
{
    struct log_pieces pieces = {.list = NULL};
    const struct job_log_state *state = &answer->state;
    enum bw_code code = job_log_read(answer->api, state, answer->range.from, &pieces, error);
    if (code == BW_OK) {
        int64_t size = log_pieces_size(&pieces);
        int64_t from = answer->tail > 0 ? log_pieces_tail(&pieces, answer->tail)
                                        : answer->range.from;
        from = from < size ? from : size;
        int64_t to = answer->range.to < size ? answer->range.to : size;
        log_pieces_write(&pieces, from, to, &answer->text);
        char *head = bw_format(
            "%s{\"job_id\":\"%s\",\"stream\":\"%s\",\"attempt\":%" PRIu32
            ",\"live\":%s,\"from\":%" PRId64 ",\"to\":%" PRId64 ",\"size\":%" PRId64 ",\"text\":\"",
            answer->before, state->place.job, log_stream_name(state->place.stream),
            state->place.attempt, state->is_over ? "false" : "true", from, to > from ? to : from,
            size);
        text_buffer_add_text(part, head);
        free(head);
        answer->is_read = true;
    }
    log_pieces_clear(&pieces);
    return code;
}

static enum bw_code log_answer_produce(void *context, struct text_buffer *part, bool *is_last,
                                       struct bw_error *error)
{
    struct log_answer *answer = context;
    if (!answer->is_read)
        return log_answer_begin(answer, part, error);
    size_t rest = answer->text.length - answer->sent;
    size_t slice = rest < SLICE_BYTES ? rest : SLICE_BYTES;
    if (slice > 0)
        text_buffer_add_escaped(part, answer->text.bytes + answer->sent, slice);
    answer->sent += slice;
    if (answer->sent < answer->text.length)
        return BW_OK;
    text_buffer_add_text(part, "\"}");
    text_buffer_add_text(part, answer->after);
    *is_last = true;
    return BW_OK;
}

static void log_answer_release(void *context)
{
    struct log_answer *answer = context;
    text_buffer_clear(&answer->text);
    free(answer);
}

static size_t log_answer_held(const void *context)
{
    return ((const struct log_answer *)context)->text.size;
}

static size_t log_answer_needed(const void *context)
{
    const struct log_answer *answer = context;
    return answer->is_read ? 0 : COPIES * (size_t)answer->api->options->max_log_bytes;
}

static enum bw_code log_answer_send(struct api *api, struct exchange *exchange,
                                    const struct log_answer *request, struct bw_error *error)
{
    struct log_answer *answer = bw_alloc(sizeof *answer);
    *answer = *request;
    enum bw_code code = job_log_find(api, &answer->state, error);
    if (code != BW_OK) {
        free(answer);
        return code;
    }
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = log_answer_produce,
                                               .release = log_answer_release,
                                               .held = log_answer_held,
                                               .needed = log_answer_needed,
                                               .context = answer});
    return BW_OK;
}

/* Whether the client asks for events. */
static bool is_followed(const struct exchange *exchange, const json_t *arguments)
{
    const char *accept = exchange_header(exchange, "Accept");
    return json_is_true(json_object_get(arguments, "follow")) ||
           (accept != NULL && strstr(accept, "text/event-stream") != NULL);
}

enum bw_code job_log_send(struct api *api, struct exchange *exchange, const char *job,
                          const char *before, const char *after, struct bw_error *error)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    struct log_answer answer = {.api = api,
                                .tail = json_integer_value(json_object_get(arguments, "tail")),
                                .range = {0, LOG_STREAM_MAX},
                                .before = before,
                                .after = after};
    const char *range = json_string_value(json_object_get(arguments, "range"));
    snprintf(answer.state.place.job, sizeof answer.state.place.job, "%s", job);
    if (!log_stream_parse(json_string_value(json_object_get(arguments, "stream")),
                          &answer.state.place.stream))
        return bw_fail(error, BW_BAD_REQUEST, "stream: must be 'stdout' or 'stderr'");
    if (is_followed(exchange, arguments)) {
        if (range != NULL || answer.tail > 0)
            return bw_fail(error, BW_BAD_REQUEST,
                           "a log that is followed has neither 'tail' nor 'range'");
        return log_stream_send(api, exchange, &answer.state.place, error);
    }
    if (range != NULL && answer.tail > 0)
        return bw_fail(error, BW_BAD_REQUEST, "'tail' and 'range' can't be given together");
    if (range != NULL && !log_range_parse(range, &answer.range))
        return bw_fail(error, BW_INTERNAL, "the range was not checked");
    return log_answer_send(api, exchange, &answer, error);
}
