/*
 * classic/files: the clients' endpoints for files in the classic protocol. May wait for the
 * database (ROUTE_BLOCKING). Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_FILES_H
#define API_CLASSIC_FILES_H

#include "api/http/route.h"

/* POST /api/v1/files → {"digest", "size"} */
enum bw_code classic_files_store(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* GET /api/v1/files/{id} → the file's bytes */
enum bw_code classic_files_show(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
