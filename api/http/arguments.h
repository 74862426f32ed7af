/*
 * arguments: what a request was asked with, from its query and its body, as one JSON object that
 * fits the route's fields. Callers: dispatch. Pure: no state, safe from any thread.
 *
 * A body is a JSON object if its first character other than space is "{", whatever its content type
 * says; a multipart form if its type says so; else an urlencoded form. An empty one is none. Text
 * becomes a value by the kind of its field; FIELD_ANY stays text.
 */
#ifndef API_HTTP_ARGUMENTS_H
#define API_HTTP_ARGUMENTS_H

#include "api/http/route.h"
#include "common/base/json_mend.h"

struct arguments_source {
    const char *query;        /* as it was sent, behind the "?"; "" if there is none */
    const char *content_type; /* NULL if there is none */
    const char *body;
    size_t body_length;
    /* Of a result what can be mended is, and counted here: common/base/json_mend.h. NULL: refused.
     */
    struct json_mend_report *mended;
    const struct json_limits *limits; /* of what is parsed; NULL: none */
};

/* On BW_OK *arguments is a new reference: an object that json_check passed, with the document in
 * "document" for BODY_DOCUMENT. BW_BAD_REQUEST: the sentence names the argument.
 * BW_TOO_LARGE, BW_UNAVAILABLE: by the limits. */
enum bw_code arguments_read(const struct route *route, const struct arguments_source *source,
                            json_t **arguments, struct bw_error *error) BW_CHECKED;

#endif
