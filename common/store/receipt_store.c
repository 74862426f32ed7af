#include "common/store/receipt_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "run_receipts"

struct receipt_store {
    struct store base;
};

enum bw_code receipt_store_open(struct database *database, struct receipt_store **store,
                                struct bw_error *error)
{
    struct receipt_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void receipt_store_close(struct receipt_store *store)
{
    store_close(store);
}

void run_receipts_clear(struct run_receipts *receipts)
{
    free(receipts->with_result);
    receipts->with_result = NULL;
}

static void receipt_store_take(const bson_t *document, void *context)
{
    struct run_receipts *found = context;
    bson_iter_t field;
    document_text(document, "_id", found->run, sizeof found->run);
    document_text(document, "head", found->chain.head, sizeof found->chain.head);
    document_text(document, "signature", found->signature, sizeof found->signature);
    document_text(document, "key", found->key, sizeof found->key);
    found->chain.count = (uint32_t)document_integer(document, "count", 0);
    found->made_ms = document_date(document, "made_at");
    if (found->with_result != NULL || !bson_iter_init_find(&field, document, "with_result") ||
        !BSON_ITER_HOLDS_BINARY(&field))
        return;
    const uint8_t *bytes;
    bson_iter_binary(&field, NULL, &found->with_result_length, &bytes);
    found->with_result = bw_alloc(found->with_result_length + 1);
    memcpy(found->with_result, bytes, found->with_result_length);
}

enum bw_code receipt_store_read(struct receipt_store *store, const char *run,
                                struct run_receipts *receipts, struct bw_error *error)
{
    struct run_receipts found = {.run = ""};
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &run, 1, NULL,
                                          receipt_store_take, &found, error);
    if (code == BW_OK && found.run[0] == '\0')
        code = bw_fail(error, BW_NOT_FOUND, "the grading run '%s' has no chain of receipts", run);
    if (code == BW_OK)
        *receipts = found;
    else
        run_receipts_clear(&found);
    return code;
}

enum bw_code receipt_store_agree(struct receipt_store *store, const struct run_receipts *proposed,
                                 struct run_receipts *kept, struct bw_error *error)
{
    bson_t document = BSON_INITIALIZER;
    const bson_t *documents[] = {&document};
    BSON_APPEND_UTF8(&document, "_id", proposed->run);
    BSON_APPEND_INT64(&document, "count", proposed->chain.count);
    BSON_APPEND_UTF8(&document, "head", proposed->chain.head);
    BSON_APPEND_UTF8(&document, "signature", proposed->signature);
    BSON_APPEND_UTF8(&document, "key", proposed->key);
    BSON_APPEND_DATE_TIME(&document, "made_at", database_now_ms(store->base.database));
    if (proposed->with_result != NULL)
        BSON_APPEND_BINARY(&document, "with_result", BSON_SUBTYPE_BINARY, proposed->with_result,
                           proposed->with_result_length);
    FAILPOINT("before_run_receipts");
    enum bw_code code = database_insert_missing(store->base.database, COLLECTION, documents, 1,
                                                NULL, error);
    bson_destroy(&document);
    FAILPOINT("after_run_receipts");
    return code == BW_OK ? receipt_store_read(store, proposed->run, kept, error) : code;
}

enum bw_code receipt_store_delete(struct receipt_store *store, const char *run,
                                  struct bw_error *error)
{
    return database_delete_ids(store->base.database, COLLECTION, &run, 1, NULL, error);
}
