#include "common/base/alloc.h"
#include "common/store/course_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/class_list.h"
#include "common/store/store.h"

#define COLLECTION "courses"
#define CURRENT "current"

struct course_store {
    struct store base;
};

static void course_store_clear_tokens(struct token_list *tokens)
{
    free(tokens->items);
    free(tokens->names);
}

void course_list_clear(struct course_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        course_store_clear_tokens(&list->items[i].tokens);
        course_store_clear_tokens(&list->items[i].query_tokens);
    }
    free(list->items);
    memset(list, 0, sizeof *list);
}

enum bw_code course_store_open(struct database *database, struct course_store **store,
                               struct bw_error *error)
{
    struct course_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void course_store_close(struct course_store *store)
{
    store_close(store);
}

/* ---- Writing ---- */

static void append_tokens(bson_t *row, const char *field, const struct token_list *tokens)
{
    bson_t list;
    char buffer[16], text[TOKEN_HASH_TEXT_SIZE];
    bson_append_array_begin(row, field, -1, &list);
    for (size_t i = 0; i < tokens->count; i++) {
        token_hash_format(&tokens->items[i], text);
        bson_append_utf8(&list, document_key(i, buffer), -1, text, -1);
    }
    bson_append_array_end(row, &list);
}

/* In a list of their own, since earlier versions read only hashes from the lists of tokens. */
static void append_token_names(bson_t *row, const char *field, const struct token_list *tokens)
{
    bson_t list;
    char buffer[16];
    bson_append_array_begin(row, field, -1, &list);
    for (size_t i = 0; i < tokens->count; i++)
        bson_append_utf8(&list, document_key(i, buffer), -1, tokens->names[i], -1);
    bson_append_array_end(row, &list);
}

static void append_courses(bson_t *document, const struct course_list *list)
{
    bson_t rows, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "courses", &rows);
    for (size_t i = 0; i < list->count; i++) {
        bson_append_document_begin(&rows, document_key(i, buffer), -1, &row);
        BSON_APPEND_UTF8(&row, "name", list->items[i].name);
        append_tokens(&row, "tokens", &list->items[i].tokens);
        append_tokens(&row, "query_tokens", &list->items[i].query_tokens);
        append_token_names(&row, "token_names", &list->items[i].tokens);
        append_token_names(&row, "query_token_names", &list->items[i].query_tokens);
        if (list->items[i].classes != 0)
            class_list_append(&row, "classes", list->items[i].classes);
        bson_append_document_end(&rows, &row);
    }
    bson_append_array_end(document, &rows);
}

enum bw_code course_store_replace(struct course_store *store, const struct course_list *list,
                                  struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
    bson_t filter = BSON_INITIALIZER, document = BSON_INITIALIZER, options = BSON_INITIALIZER;
    bson_error_t reason;
    BSON_APPEND_UTF8(&filter, "_id", CURRENT);
    BSON_APPEND_UTF8(&document, "_id", CURRENT);
    BSON_APPEND_INT64(&document, "version", nonce_new());
    append_courses(&document, list);
    BSON_APPEND_BOOL(&options, "upsert", true);
    bool ok = mongoc_collection_replace_one(into, &filter, &document, &options, NULL, &reason);
    bson_destroy(&filter);
    bson_destroy(&document);
    bson_destroy(&options);
    mongoc_collection_destroy(into);
    database_return(store->base.database, client);
    return ok ? BW_OK
              : bw_fail(error, BW_UNAVAILABLE, "the courses could not be stored: %.200s",
                        database_mask(reason.message));
}

/* ---- Reading ---- */

static void take_version(const bson_t *document, void *context)
{
    *(int64_t *)context = document_integer(document, "version", 0);
}

enum bw_code course_store_version(struct course_store *store, int64_t *version,
                                  struct bw_error *error)
{
    static const char *const id = CURRENT;
    int64_t found = 0;
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "version", 1);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &id, 1, &projection,
                                          take_version, &found, error);
    bson_destroy(&projection);
    if (code == BW_OK)
        *version = found;
    return code;
}

/* Opens a list in a document; how many elements it has. */
static size_t course_store_open_list(const bson_t *document, const char *field,
                                     bson_iter_t *elements)
{
    bson_iter_t found, counting;
    size_t count = 0;
    if (!bson_iter_init_find(&found, document, field) || !BSON_ITER_HOLDS_ARRAY(&found) ||
        !bson_iter_recurse(&found, &counting))
        return 0;
    while (bson_iter_next(&counting))
        count++;
    bson_iter_recurse(&found, elements);
    return count;
}

static void *course_store_allocate(size_t count, size_t size)
{
    void *memory = bw_alloc_array(count + 1, size);
    return memory;
}

/* The next name of a list; "": the list is over. */
static void read_token_name(bson_iter_t *names, size_t *left, char name[TOKEN_NAME_SIZE])
{
    name[0] = '\0';
    if (*left == 0 || !bson_iter_next(names))
        return;
    --*left;
    if (BSON_ITER_HOLDS_UTF8(names))
        snprintf(name, TOKEN_NAME_SIZE, "%s", bson_iter_utf8(names, NULL));
}

/* Courses that an earlier version stored have no names. */
static void read_tokens(const bson_t *row, const char *field, const char *names_field,
                        struct token_list *tokens)
{
    bson_iter_t element, names;
    size_t count = course_store_open_list(row, field, &element);
    size_t names_left = course_store_open_list(row, names_field, &names);
    tokens->items = course_store_allocate(count, sizeof *tokens->items);
    tokens->names = course_store_allocate(count, sizeof *tokens->names);
    for (size_t i = 0; i < count && bson_iter_next(&element); i++) {
        read_token_name(&names, &names_left, tokens->names[tokens->count]);
        if (BSON_ITER_HOLDS_UTF8(&element) &&
            token_hash_parse(bson_iter_utf8(&element, NULL), &tokens->items[tokens->count]))
            tokens->count++;
    }
}

static void take_courses(const bson_t *document, void *context)
{
    struct course_list *list = context;
    bson_iter_t element;
    size_t count = course_store_open_list(document, "courses", &element);
    list->version = document_integer(document, "version", 0);
    list->items = course_store_allocate(count, sizeof *list->items);
    for (size_t i = 0; i < count && bson_iter_next(&element); i++) {
        struct course_entry *course = &list->items[list->count];
        const uint8_t *bytes;
        uint32_t length;
        bson_t row;
        if (!BSON_ITER_HOLDS_DOCUMENT(&element))
            continue;
        bson_iter_document(&element, &length, &bytes);
        if (!bson_init_static(&row, bytes, length) ||
            !document_text(&row, "name", course->name, sizeof course->name))
            continue;
        read_tokens(&row, "tokens", "token_names", &course->tokens);
        read_tokens(&row, "query_tokens", "query_token_names", &course->query_tokens);
        course->classes = class_list_read(&row, "classes");
        list->count++;
    }
}

enum bw_code course_store_read(struct course_store *store, struct course_list *list,
                               struct bw_error *error)
{
    static const char *const id = CURRENT;
    struct course_list found = {0};
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &id, 1, NULL,
                                          take_courses, &found, error);
    if (code == BW_OK)
        *list = found;
    else
        course_list_clear(&found);
    return code;
}
