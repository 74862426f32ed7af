#include "api/openapi/pages.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/etag.h"
#include "api/http/exchange.h"
#include "api/openapi/openapi_document.h"
#include "api/openapi/embedded.h"
#include "common/base/alloc.h"
#include "common/base/running_digest.h"

enum { NOT_MODIFIED = 304, ETAG_SIZE = SHA256_TEXT_SIZE + 2 };

/* Scripts and styles come from this server alone, and none stands in the page: the viewer styles
 * elements of its own, so that styles may. */
static const char security_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char compressed_ending[] = ".gz", index_name[] = "index.html";

/* What is sent. */
struct page {
    const char *name, *type; /* static */
    const char *bytes;
    size_t length;
    bool is_compressed;
    char etag[ETAG_SIZE];
};

struct pages {
    char *text; /* own: the document */
    struct page document;
    struct page *files; /* own */
    size_t count;
};

/* ---- Once ---- */

static bool has_ending(const char *name, const char *ending)
{
    size_t length = strlen(name), ending_length = strlen(ending);
    return length >= ending_length && strcmp(name + length - ending_length, ending) == 0;
}

static const char *type_of(const char *name)
{
    if (strstr(name, ".css") != NULL)
        return "text/css; charset=utf-8";
    if (strstr(name, ".js") != NULL)
        return "text/javascript; charset=utf-8";
    return "text/html; charset=utf-8";
}

static void page_set(struct page *page, const char *bytes, size_t length)
{
    char hex[SHA256_TEXT_SIZE];
    struct running_digest *digest = running_digest_new();
    running_digest_add(digest, bytes, length);
    running_digest_finish(digest, hex);
    snprintf(page->etag, sizeof page->etag, "\"%s\"", hex);
    page->bytes = bytes;
    page->length = length;
}

static void page_of_file(struct page *page, const struct embedded *file)
{
    page->name = file->name;
    page->type = type_of(file->name);
    page->is_compressed = has_ending(file->name, compressed_ending);
    page_set(page, file->begin, (size_t)(file->end - file->begin));
}

struct pages *pages_open(void)
{
    struct pages *pages = bw_alloc(sizeof *pages);
    pages->text = openapi_document_text();
    page_set(&pages->document, pages->text, strlen(pages->text));
    while (embedded_page[pages->count].name != NULL)
        pages->count++;
    pages->files = bw_alloc_array(pages->count, sizeof *pages->files);
    for (size_t i = 0; i < pages->count; i++)
        page_of_file(&pages->files[i], &embedded_page[i]);
    return pages;
}

void pages_close(struct pages *pages)
{
    if (pages == NULL)
        return;
    free(pages->files);
    free(pages->text);
    free(pages);
}

/* ---- Answers ---- */

static void page_add_headers(const struct page *page, struct MHD_Response *response)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, page->etag);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (page->is_compressed)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    if (page->name != NULL)
        MHD_add_response_header(response, "Content-Security-Policy", security_policy);
}

/* The bytes live as long as the server, so that slow clients hold no memory of their own. */
static struct MHD_Response *page_response(void *stream, struct MHD_Connection *connection, int fd)
{
    const struct page *page = stream;
    (void)connection;
    (void)fd;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        page->length, (void *)page->bytes, MHD_RESPMEM_PERSISTENT);
    if (response != NULL)
        page_add_headers(page, response);
    return response;
}

static void page_drop(void *stream)
{
    (void)stream;
}

static void page_send(struct exchange *exchange, const struct page *page)
{
    if (etag_is_named(exchange_header(exchange, "If-None-Match"), page->etag)) {
        exchange_add_header(exchange, "ETag", page->etag);
        exchange_answer(exchange, NOT_MODIFIED, NULL, page->type);
        return;
    }
    exchange_answer_stream(exchange, &(struct exchange_stream){.stream = (void *)page,
                                                               .response = page_response,
                                                               .drop = page_drop,
                                                               .is_json = true,
                                                               .type = page->type});
}

enum bw_code pages_show_document(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    page_send(exchange, &api->pages->document);
    return BW_OK;
}

/* Whether the file has this name, apart from ".gz". */
static bool page_is(const struct page *page, const char *name)
{
    size_t length = strlen(name);
    const char *rest = page->name + length;
    return strncmp(page->name, name, length) == 0 &&
           (*rest == '\0' || (page->is_compressed && strcmp(rest, compressed_ending) == 0));
}

/* Without the viewer, which the build gets by npm, the page is of no use. */
static bool has_viewer(const struct pages *pages)
{
    for (size_t i = 0; i < pages->count; i++)
        if (pages->files[i].length == 0)
            return false;
    return true;
}

static enum bw_code pages_show(struct api *api, struct exchange *exchange, const char *name,
                               struct bw_error *error)
{
    const struct pages *pages = api->pages;
    if (!has_viewer(pages))
        return bw_fail(error, BW_NOT_FOUND,
                       "this server was built without npm, and so without the page; the document "
                       "itself is at /api/v1/openapi.json");
    for (size_t i = 0; i < pages->count; i++)
        if (page_is(&pages->files[i], name)) {
            page_send(exchange, &pages->files[i]);
            return BW_OK;
        }
    return bw_fail(error, BW_NOT_FOUND, "the page has no such file");
}

enum bw_code pages_show_index(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return pages_show(api, exchange, index_name, error);
}

enum bw_code pages_show_file(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return pages_show(api, exchange, exchange_request(exchange)->path_id, error);
}
