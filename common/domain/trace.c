#include "common/domain/trace.h"

#include <stdio.h>
#include <string.h>

#include "common/base/secret.h"

/* The parts of "00-<trace id>-<parent>-<flags>". */
enum {
    VERSION_LENGTH = 2,
    ID_AT = VERSION_LENGTH + 1,
    ID_LENGTH = TRACE_ID_SIZE - 1,
    PARENT_AT = ID_AT + ID_LENGTH + 1,
    PARENT_LENGTH = TRACE_SPAN_SIZE - 1,
    FLAGS_AT = PARENT_AT + PARENT_LENGTH + 1,
    TEXT_LENGTH = TRACEPARENT_SIZE - 1
};

static bool is_hex(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdef") >= length;
}

static bool is_zero(const char *text, size_t length)
{
    return strspn(text, "0") >= length;
}

static bool has_form(const char *text)
{
    return is_hex(text, VERSION_LENGTH) && text[ID_AT - 1] == '-' &&
           is_hex(text + ID_AT, ID_LENGTH) && text[PARENT_AT - 1] == '-' &&
           is_hex(text + PARENT_AT, PARENT_LENGTH) && text[FLAGS_AT - 1] == '-' &&
           is_hex(text + FLAGS_AT, TEXT_LENGTH - FLAGS_AT);
}

bool trace_parse(const char *text, struct trace *trace)
{
    if (text == NULL || strlen(text) < TEXT_LENGTH || !has_form(text))
        return false;
    char after = text[TEXT_LENGTH];
    bool is_first_version = memcmp(text, "00", VERSION_LENGTH) == 0;
    if (memcmp(text, "ff", VERSION_LENGTH) == 0 ||
        (after != '\0' && (is_first_version || after != '-')))
        return false;
    if (is_zero(text + ID_AT, ID_LENGTH) || is_zero(text + PARENT_AT, PARENT_LENGTH))
        return false;
    snprintf(trace->id, sizeof trace->id, "%.*s", (int)ID_LENGTH, text + ID_AT);
    snprintf(trace->parent, sizeof trace->parent, "%.*s", (int)PARENT_LENGTH, text + PARENT_AT);
    trace->is_sampled = strchr("13579bdf", text[TEXT_LENGTH - 1]) != NULL;
    return true;
}

void trace_format(const struct trace *trace, const char *span, char text[TRACEPARENT_SIZE])
{
    snprintf(text, TRACEPARENT_SIZE, "00-%s-%s-%02x", trace->id, span, trace->is_sampled ? 1 : 0);
}

/* The first digits of a digest; not all of them are 0. */
static void make_id(const struct digest_part *parts, size_t count, char *id, size_t size)
{
    char digest[SHA256_TEXT_SIZE];
    secret_digest(parts, count, digest);
    snprintf(id, size, "%s", digest);
    if (is_zero(id, size - 1))
        id[size - 2] = '1';
}

void trace_of_run(const char *run_id, const char *traceparent, struct trace *trace)
{
    if (trace_parse(traceparent, trace))
        return;
    const struct digest_part parts[] = {{"trace", 5}, {run_id, strlen(run_id)}};
    make_id(parts, 2, trace->id, sizeof trace->id);
    trace->parent[0] = '\0';
    trace->is_sampled = true;
}

void trace_span_id(const char *run_id, const char *job, uint32_t attempt, const char *name,
                   char span[TRACE_SPAN_SIZE])
{
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)attempt);
    const struct digest_part parts[] = {{run_id, strlen(run_id)},
                                        {job, strlen(job)},
                                        {number, strlen(number)},
                                        {name, strlen(name)}};
    make_id(parts, 4, span, TRACE_SPAN_SIZE);
}
