#include "api/grading/file_transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"
#include "common/domain/file_entry.h"
#include "common/store/file_store.h"

static const char file_type[] = "application/octet-stream";

const struct json_field file_transfer_fields[] = {
    {.name = "digest", .kind = FIELD_STRING, .check = file_digest_check},
    {.name = NULL},
};

/* ---- Receiving ---- */

enum bw_code file_transfer_receive(struct api *api, struct exchange *exchange, const char *scope,
                                   json_t **stored, struct bw_error *error)
{
    const struct received_file *file = exchange_received_file(exchange);
    const char *wanted = json_string_value(
        json_object_get(exchange_request(exchange)->arguments, "digest"));
    char digest[FILE_DIGEST_SIZE];
    file_digest_format(file->hex, digest);
    if (wanted != NULL && strcmp(wanted, digest) != 0)
        return bw_fail(error, BW_BAD_REQUEST,
                       "digest: the body has %lld bytes and the digest %s: nothing was stored",
                       (long long)file->size, digest);
    const struct file_source source = {.fd = file->fd, .size = file->size, .hex = file->hex};
    enum bw_code code = file_store_put(api->file_store, scope, &source, error);
    if (code == BW_OK)
        *stored = json_pack("{s:s,s:I}", "digest", digest, "size", (json_int_t)file->size);
    return code;
}

/* ---- Sending ---- */

/* A stored file that is being sent. */
struct file_sending {
    struct file_store *store;
    struct stored_file file;
    uint32_t next; /* the number of the next chunk */
};

static enum bw_code file_sending_produce(void *context, struct text_buffer *part, bool *is_last,
                                         struct bw_error *error)
{
    struct file_sending *sending = context;
    char *bytes;
    size_t length;
    enum bw_code code = file_store_read_chunk(sending->store, &sending->file, sending->next, &bytes,
                                              &length, error);
    if (code != BW_OK)
        return code;
    text_buffer_add(part, bytes, length);
    free(bytes);
    sending->next++;
    *is_last = sending->next == sending->file.chunks;
    return BW_OK;
}

/* Answers with a file of one chunk, or of none. */
static enum bw_code send_short(struct api *api, struct exchange *exchange,
                               const struct stored_file *file, struct bw_error *error)
{
    char *bytes;
    size_t length = 0;
    enum bw_code code = BW_OK;
    if (file->chunks == 0)
        bytes = bw_copy("");
    else
        code = file_store_read_chunk(api->file_store, file, 0, &bytes, &length, error);
    if (code == BW_OK)
        exchange_answer_bytes(exchange, bytes, length, file_type);
    return code;
}

static void send_long(struct api *api, struct exchange *exchange, const struct stored_file *file)
{
    struct file_sending *sending = bw_alloc(sizeof *sending);
    sending->store = api->file_store;
    sending->file = *file;
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = file_sending_produce,
                                               .release = free,
                                               .context = sending,
                                               .length = (uint64_t)file->size,
                                               .type = file_type});
}

static void add_etag(struct exchange *exchange, const char *hex)
{
    char digest[FILE_DIGEST_SIZE], etag[EXCHANGE_HEADER_SIZE];
    snprintf(etag, sizeof etag, "\"%s\"", file_digest_format(hex, digest));
    exchange_add_header(exchange, "ETag", etag);
}

enum bw_code file_transfer_send(struct api *api, struct exchange *exchange, const char *scope,
                                const char *digest, struct bw_error *error)
{
    char hex[SHA256_TEXT_SIZE], shown[128];
    struct stored_file file;
    if (!file_digest_parse(digest, hex))
        return bw_fail(error, BW_BAD_REQUEST,
                       "'%s' is not the digest of a file: sha256: and 64 hex digits in lower case",
                       text_show(digest, shown, sizeof shown));
    enum bw_code code = file_store_find(api->file_store, scope, hex, &file, error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "there is no file %s", digest);
    if (code != BW_OK)
        return code;
    add_etag(exchange, hex);
    if (file.chunks <= 1)
        return send_short(api, exchange, &file, error);
    send_long(api, exchange, &file);
    return BW_OK;
}
