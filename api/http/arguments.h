/*
 * arguments: reads a request's arguments from its query and its body, as one JSON object that fits
 * the route's fields. Callers: dispatch. Pure: no state, safe from any thread.
 *
 * A body is a JSON object if its first character other than white space is "{", whatever its
 * content type; a multipart form if its type says so; otherwise an urlencoded form. An empty body
 * has no arguments. Text is converted to a value by the kind of its field; for FIELD_ANY it stays
 * text.
 */
#ifndef API_HTTP_ARGUMENTS_H
#define API_HTTP_ARGUMENTS_H

#include "api/http/route.h"
#include "common/base/json_mend.h"

struct arguments_source {
    const char *query;        /* as it was sent, after the "?"; "": none */
    const char *content_type; /* NULL: none */
    const char *body;
    size_t body_length;
    /* For a result: what can be repaired is, and is counted here (common/base/json_mend.h). NULL:
     * invalid text is refused. */
    struct json_mend_report *mended;
    const struct json_limits *limits; /* limits of the parsed JSON; NULL: none */
    const void *context;              /* passed to the checks of fields */
};

/* Whether the body is read as JSON, by its first character or its type. */
bool arguments_body_is_json(const char *content_type, const char *body, size_t length);

/* Reads and checks the arguments. On BW_OK *arguments is a new reference to an object that
 * json_check has accepted; for BODY_DOCUMENT the document is in "document"; for BODY_UNREAD
 * *arguments is unchanged. BW_BAD_REQUEST, for BODY_JSON BW_BAD_BODY: the sentence names the
 * argument. BW_TOO_LARGE, BW_UNAVAILABLE: refused by the limits. BW_INTERNAL: out of memory. */
enum bw_code arguments_read(const struct route *route, const struct arguments_source *source,
                            json_t **arguments, struct bw_error *error) BW_CHECKED;

#endif
