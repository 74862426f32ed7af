#include "common/store/image_pin_store.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/secret.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/domain/job.h"
#include "common/store/store.h"

#define COLLECTION "image_pins"

enum { PIN_ID_SIZE = RUN_ID_SIZE + SHA256_TEXT_SIZE };

struct image_pin_store {
    struct store base;
};

enum bw_code image_pin_store_open(struct database *database, struct image_pin_store **store,
                                  struct bw_error *error)
{
    struct image_pin_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void image_pin_store_close(struct image_pin_store *store)
{
    store_close(store);
}

static void image_pin_id(const char *run, const char *image, char id[PIN_ID_SIZE])
{
    char digest[SHA256_TEXT_SIZE];
    secret_digest(&(struct digest_part){image, strlen(image)}, 1, digest);
    snprintf(id, PIN_ID_SIZE, "%s/%s", run, digest);
}

static bson_t *image_pin_make(struct image_pin_store *store, const char *run, const char *image,
                              const json_t *digest)
{
    char id[PIN_ID_SIZE];
    bson_t *document = bson_new();
    image_pin_id(run, image, id);
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_UTF8(document, "image", image);
    BSON_APPEND_UTF8(document, "digest", json_string_value(digest));
    BSON_APPEND_DATE_TIME(document, "at", database_now_ms(store->base.database));
    return document;
}

enum bw_code image_pin_store_propose(struct image_pin_store *store, const char *run,
                                     const json_t *proposed, struct bw_error *error)
{
    const char *image;
    json_t *digest;
    size_t count = 0;
    bson_t *documents[IMAGES_MAX];
    json_object_foreach ((json_t *)(uintptr_t)proposed, image, digest)
        if (count < IMAGES_MAX)
            documents[count++] = image_pin_make(store, run, image, digest);
    enum bw_code code = BW_OK;
    FAILPOINT("before_image_pins");
    if (count > 0)
        code = database_insert_missing(store->base.database, COLLECTION,
                                       (const bson_t *const *)documents, count, NULL, error);
    FAILPOINT("after_image_pins");
    for (size_t i = 0; i < count; i++)
        bson_destroy(documents[i]);
    return code;
}

static void image_pin_take(const bson_t *document, void *context)
{
    json_t *found = context;
    char image[IMAGE_NAME_SIZE], digest[IMAGE_DIGEST_SIZE];
    if (document_text(document, "image", image, sizeof image) &&
        document_text(document, "digest", digest, sizeof digest))
        json_object_set_new(found, image, json_string(digest));
}

enum bw_code image_pin_store_read(struct image_pin_store *store, const char *run,
                                  const json_t *images, json_t *found, struct bw_error *error)
{
    const char *image;
    json_t *unused;
    size_t count = 0, most = json_object_size(images);
    char(*ids)[PIN_ID_SIZE] = bw_alloc_array(most + 1, sizeof *ids);
    const char **texts = bw_alloc_array(most + 1, sizeof *texts);
    json_object_foreach ((json_t *)(uintptr_t)images, image, unused) {
        image_pin_id(run, image, ids[count]);
        texts[count] = ids[count];
        count++;
    }
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, texts, count, NULL,
                                          image_pin_take, found, error);
    free(texts);
    free(ids);
    return code;
}

enum bw_code image_pin_store_delete(struct image_pin_store *store, const char *run,
                                    struct bw_error *error)
{
    char from[PIN_ID_SIZE], to[PIN_ID_SIZE];
    bson_t filter = BSON_INITIALIZER, range;
    snprintf(from, sizeof from, "%s/", run);
    snprintf(to, sizeof to, "%s0", run); /* "0" follows "/" */
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
    BSON_APPEND_UTF8(&range, "$gte", from);
    BSON_APPEND_UTF8(&range, "$lt", to);
    bson_append_document_end(&filter, &range);
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}
