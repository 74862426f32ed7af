#include "api/http/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http/exchange.h"
#include "api/http/form.h"

enum { SHOWN_SIZE = 80, NUMBER_MAX_LENGTH = 32 };

static const char payload_name[] = "json_payload";
static const char document_name[] = "document";
static const struct json_field no_fields[] = {{.name = NULL}};

struct reader {
    const struct route *route;
    const struct json_limits *limits;
    const struct json_field *fields;
    json_t *arguments; /* the arguments so far; json_payload as text */
    json_t *place;     /* the names that were read from the current place: query or body */
    size_t count;
    struct json_mend_report *mended; /* NULL: nothing is repaired */
};

/* ---- Text to values ---- */

static enum bw_code refuse_value(const char *name, const char *text, const char *wanted,
                                 struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    return bw_fail(error, BW_BAD_REQUEST, "argument '%s': '%s' is not %s", name,
                   text_show(text, shown, sizeof shown), wanted);
}

/* Whether the text is an optional minus and digits, with `has_fraction` optionally followed by a
 * point and digits. strtod accepts more. */
static bool is_decimal(const char *text, bool has_fraction)
{
    static const char digits[] = "0123456789";
    if (strlen(text) > NUMBER_MAX_LENGTH)
        return false;
    text += *text == '-';
    size_t length = strspn(text, digits);
    if (length == 0)
        return false;
    text += length;
    if (*text != '.' || !has_fraction)
        return *text == '\0';
    length = strspn(text + 1, digits);
    return length > 0 && text[1 + length] == '\0';
}

static enum bw_code read_integer(const char *name, const char *text, json_t **value,
                                 struct bw_error *error)
{
    errno = 0;
    long long number = is_decimal(text, false) ? strtoll(text, NULL, 10) : 0;
    if (!is_decimal(text, false) || errno != 0)
        return refuse_value(name, text, "an integer", error);
    *value = json_integer(number);
    return BW_OK;
}

static enum bw_code read_number(const char *name, const char *text, json_t **value,
                                struct bw_error *error)
{
    if (!is_decimal(text, true))
        return refuse_value(name, text, "a decimal number", error);
    *value = json_real(strtod(text, NULL));
    return BW_OK;
}

static enum bw_code read_boolean(const char *name, const char *text, json_t **value,
                                 struct bw_error *error)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return refuse_value(name, text, "true or false", error);
    *value = json_boolean(text[0] == 't');
    return BW_OK;
}

static enum bw_code read_structure(const struct reader *reader, const char *name, const char *text,
                                   json_t **value, struct bw_error *error)
{
    char what[SHOWN_SIZE + 16];
    snprintf(what, sizeof what, "argument '%s'", name);
    return json_parse_within(text, strlen(text), what, reader->limits, value, error);
}

static enum bw_code read_string(const char *name, const char *text, struct json_mend_report *mended,
                                json_t **value, struct bw_error *error)
{
    *value = mended != NULL ? json_string_mended(text, strlen(text), mended) : json_string(text);
    return *value != NULL ? BW_OK
                          : bw_fail(error, BW_BAD_REQUEST, "argument '%s' is not UTF-8", name);
}

static enum bw_code arguments_read_text(const struct reader *reader, const struct json_field *field,
                                        const char *text, json_t **value, struct bw_error *error)
{
    switch (field->kind) {
    case FIELD_INTEGER:
        return read_integer(field->name, text, value, error);
    case FIELD_NUMBER:
        return read_number(field->name, text, value, error);
    case FIELD_BOOLEAN:
        return read_boolean(field->name, text, value, error);
    case FIELD_STRING:
    case FIELD_ANY:
        return read_string(field->name, text, reader->mended, value, error);
    default:
        return read_structure(reader, field->name, text, value, error);
    }
}

/* ---- Query and body ---- */

static const struct json_field *find_row(const struct json_field *fields, const char *name)
{
    for (; fields->name != NULL; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

/* The field of an argument. Every BODY_DOCUMENT route has json_payload, whose value becomes
 * "document". */
static const struct json_field *arguments_find_field(const struct reader *reader, const char *name)
{
    static const struct json_field payload = {.name = payload_name, .kind = FIELD_STRING};
    bool takes_document = reader->route->body == BODY_DOCUMENT;
    if (takes_document && strcmp(name, payload_name) == 0)
        return &payload;
    if (takes_document && strcmp(name, document_name) == 0)
        return NULL;
    return find_row(reader->fields, name);
}

/* Counts an argument, checks its name, and finds its field. */
static enum bw_code arguments_find_next_field(struct reader *reader, const char *name,
                                              const struct json_field **field,
                                              struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    if (++reader->count > ARGUMENT_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "there are more than %d arguments", ARGUMENT_MAX);
    *field = arguments_find_field(reader, name);
    if (*field == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "unknown argument '%s'",
                       text_show(name, shown, sizeof shown));
    if (json_object_get(reader->place, name) != NULL)
        return bw_fail(error, BW_BAD_REQUEST, "argument '%s' is given twice", name);
    json_object_set_new(reader->place, name, json_true());
    return BW_OK;
}

/* Adds an argument. The same value in query and body is accepted. `value` is borrowed. */
static enum bw_code arguments_put(struct reader *reader, const char *name, json_t *value,
                                  struct bw_error *error)
{
    const json_t *other = json_object_get(reader->arguments, name);
    if (other != NULL && !json_equal(other, value))
        return bw_fail(error, BW_BAD_REQUEST, "argument '%s' is given twice", name);
    return json_object_set(reader->arguments, name, value) == 0
               ? BW_OK
               : bw_fail(error, BW_INTERNAL, "out of memory");
}

static enum bw_code arguments_take_text(const char *name, const char *text, void *context,
                                        struct bw_error *error)
{
    struct reader *reader = context;
    const struct json_field *field;
    json_auto_t *value = NULL;
    enum bw_code code = arguments_find_next_field(reader, name, &field, error);
    if (code == BW_OK)
        code = arguments_read_text(reader, field, text, &value, error);
    return code == BW_OK ? arguments_put(reader, field->name, value, error) : code;
}

static enum bw_code arguments_parse_body(const struct reader *reader,
                                         const struct arguments_source *source, json_t **body,
                                         struct bw_error *error)
{
    static const struct json_mend_limits mending = {.envelope = 1,
                                                    .max_values = JSON_MEND_MAX_VALUES};
    if (source->mended == NULL)
        return json_parse_within(source->body, source->body_length, "the body", reader->limits,
                                 body, error);
    return json_parse_mended(source->body, source->body_length, "the body", &mending,
                             reader->limits, body, source->mended, error);
}

static enum bw_code read_json_body(struct reader *reader, const struct arguments_source *source,
                                   struct bw_error *error)
{
    json_auto_t *body = NULL;
    const char *name;
    json_t *value;
    enum bw_code code = arguments_parse_body(reader, source, &body, error);
    if (code != BW_OK)
        return code;
    if (!json_is_object(body))
        return bw_fail(error, BW_BAD_REQUEST, "the body must be a JSON object, not %s",
                       json_kind_of(body));
    if (reader->route->body == BODY_DOCUMENT)
        return arguments_put(reader, document_name, body, error);
    json_object_foreach (body, name, value) {
        const struct json_field *field;
        code = arguments_find_next_field(reader, name, &field, error);
        if (code == BW_OK)
            code = arguments_put(reader, name, value, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

bool arguments_body_is_json(const char *content_type, const char *body, size_t length)
{
    static const char type[] = "application/json";
    size_t at = 0;
    while (at < length && body[at] != '\0' && strchr(" \t\r\n", body[at]) != NULL)
        at++;
    if (at < length && body[at] == '{')
        return true;
    return content_type != NULL && strncasecmp(content_type, type, sizeof type - 1) == 0;
}

/* Takes memory for a form's two copies of its text: decoded, and as the argument. */
static enum bw_code take_copies(const struct reader *reader, size_t length, struct bw_error *error)
{
    const struct json_limits *limits = reader->limits;
    if (limits == NULL || limits->take == NULL)
        return BW_OK;
    return limits->take(limits->context, 2 * length, error);
}

static enum bw_code read_body(struct reader *reader, const struct arguments_source *source,
                              struct bw_error *error)
{
    if (source->body_length == 0 || reader->route->body == BODY_NONE ||
        reader->route->body == BODY_BYTES)
        return BW_OK;
    json_object_clear(reader->place);
    if (arguments_body_is_json(source->content_type, source->body, source->body_length))
        return read_json_body(reader, source, error);
    enum bw_code code = take_copies(reader, source->body_length, error);
    if (code != BW_OK)
        return code;
    if (is_multipart(source->content_type))
        return form_read_multipart(source->content_type, source->body, source->body_length,
                                   arguments_take_text, reader, source->mended, error);
    return form_read_urlencoded(source->body, source->body_length, "the body", arguments_take_text,
                                reader, source->mended, error);
}

/* ---- All arguments ---- */

/* Parses json_payload into the document. */
static enum bw_code read_document(struct reader *reader, struct bw_error *error)
{
    if (reader->route->body != BODY_DOCUMENT)
        return BW_OK;
    const json_t *text = json_object_get(reader->arguments, payload_name);
    const json_t *body = json_object_get(reader->arguments, document_name);
    if (text == NULL && body == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "argument '%s' is missing", payload_name);
    if (text == NULL)
        return BW_OK;
    if (body != NULL)
        return bw_fail(error, BW_BAD_REQUEST,
                       "argument '%s' is given twice: the body is one as well", payload_name);
    json_auto_t *document = NULL;
    enum bw_code code = json_parse_within(json_string_value(text), json_string_length(text),
                                          payload_name, reader->limits, &document, error);
    if (code != BW_OK)
        return code;
    if (!json_is_object(document))
        return bw_fail(error, BW_BAD_REQUEST, "%s must be a JSON object, not %s", payload_name,
                       json_kind_of(document));
    json_object_set(reader->arguments, document_name, document);
    json_object_del(reader->arguments, payload_name);
    return BW_OK;
}

static enum bw_code arguments_check(const struct reader *reader, struct bw_error *error)
{
    for (const struct json_field *field = reader->fields; field->name != NULL; field++)
        if (field->is_required && json_object_get(reader->arguments, field->name) == NULL)
            return bw_fail(error, BW_BAD_REQUEST, "argument '%s' is missing", field->name);
    /* If the document has no field, its handler checks it. */
    json_auto_t *named = json_copy(reader->arguments);
    if (find_row(reader->fields, document_name) == NULL)
        json_object_del(named, document_name);
    return json_check(named, reader->fields, "", NULL, error);
}

static enum bw_code arguments_read_all(struct reader *reader, const struct arguments_source *source,
                                       struct bw_error *error)
{
    enum bw_code code = form_read_urlencoded(source->query, strlen(source->query), "the query",
                                             arguments_take_text, reader, source->mended, error);
    if (code == BW_OK)
        code = read_body(reader, source, error);
    if (code == BW_OK)
        code = read_document(reader, error);
    return code == BW_OK ? arguments_check(reader, error) : code;
}

static bool has_required(const struct json_field *fields)
{
    while (fields->name != NULL && !fields->is_required)
        fields++;
    return fields->name != NULL;
}

/* Reads the body of BODY_JSON as the arguments. The query is ignored. No body at all is {}, if
 * nothing is required. */
static enum bw_code arguments_read_json(const struct reader *reader,
                                        const struct arguments_source *source, json_t **arguments,
                                        struct bw_error *error)
{
    json_t *body = NULL;
    enum bw_code code = BW_OK;
    if (source->body_length == 0 && !has_required(reader->fields))
        body = json_object();
    else
        code = arguments_parse_body(reader, source, &body, error);
    if (code == BW_OK)
        code = json_check(body, reader->fields, "", source->context, error);
    if (code == BW_OK)
        *arguments = body;
    else
        json_decref(body);
    return code == BW_BAD_REQUEST ? BW_BAD_BODY : code;
}

enum bw_code arguments_read(const struct route *route, const struct arguments_source *source,
                            json_t **arguments, struct bw_error *error)
{
    struct reader reader = {.route = route,
                            .limits = source->limits,
                            .fields = route->fields != NULL ? route->fields : no_fields,
                            .mended = source->mended};
    if (route->body == BODY_UNREAD)
        return BW_OK;
    if (route->body == BODY_JSON)
        return arguments_read_json(&reader, source, arguments, error);
    reader.arguments = json_object();
    reader.place = json_object();
    enum bw_code code = arguments_read_all(&reader, source, error);
    json_decref(reader.place);
    if (code == BW_OK)
        *arguments = reader.arguments;
    else
        json_decref(reader.arguments);
    return code;
}
