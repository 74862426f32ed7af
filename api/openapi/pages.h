/*
 * pages: serves the OpenAPI document and the page that shows it. Both are made once, at startup,
 * and sent from there. Callers: service; the handlers are called by dispatch.
 */
#ifndef API_OPENAPI_PAGES_H
#define API_OPENAPI_PAGES_H

#include "api/http/route.h"
#include "common/base/error.h"

struct pages;

/* Makes the document and the page. Never NULL; pages_close. */
struct pages *pages_open(void);

/* Frees them, after the last answer was sent. NULL is allowed. */
void pages_close(struct pages *pages);

/* GET /api/v1/openapi.json */
enum bw_code pages_show_document(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* GET /docs */
enum bw_code pages_show_index(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /docs/{id} */
enum bw_code pages_show_file(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
