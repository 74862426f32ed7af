#include "api/course/envelope.h"

#include "api/api.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange_internal.h"

void course_succeed(struct exchange *exchange, json_t *data)
{
    answer_stream_send_json(exchange->host->api->answer_streams, exchange, COURSE_SUCCESS_BEFORE,
                            data, COURSE_SUCCESS_AFTER);
    json_decref(data);
}

void course_succeed_with_text(struct exchange *exchange, const char *data)
{
    answer_stream_send_written(exchange->host->api->answer_streams, exchange, COURSE_SUCCESS_BEFORE,
                               data, COURSE_SUCCESS_AFTER);
}

static bool course_envelope_is_fail(enum bw_code code)
{
    switch (code) {
    case BW_BAD_BODY:
    case BW_BAD_REQUEST:
    case BW_UNAUTHORIZED:
    case BW_FORBIDDEN:
    case BW_NOT_FOUND:
    case BW_CONFLICT:
    case BW_UPGRADE_REQUIRED:
    case BW_NO_JOB:
        return true;
    default:
        return false;
    }
}

/* Clients compare the whole body of a "fail", so it has no request id. */
bool course_envelope_refuse(json_t *body, enum bw_code code, json_t *sentence, bool is_own)
{
    bool is_fail = is_own && course_envelope_is_fail(code);
    json_object_set_new(body, "status", json_string(is_fail ? "fail" : "error"));
    if (!is_fail) {
        json_object_set(body, "message", sentence);
        json_object_set_new(body, "code", json_integer(bw_code_status(code)));
    } else if (code == BW_BAD_BODY) {
        json_object_set(body, "data", sentence);
    } else {
        json_object_set_new(body, "data", json_pack("{s:O}", "message", sentence));
    }
    return !is_fail;
}
