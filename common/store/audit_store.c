#include "common/store/audit_store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "audit"
#define ENTRIES "entries"

enum {
    TRY_MS = 10000,
    ENTRIES_MAX = 256, /* of one document: an entry's position is one byte of its id */
    BYTES_MAX = 64 * 1024,
    FILTER_IDS = 100 /* of one removal */
};

struct audit_store {
    struct store base;
    pthread_mutex_t mutex; /* guards the fields below */
    struct audit_commit *waiting, **tail;
    struct audit_commit *sent; /* the entries of the document in flight; NULL: there is none */
    struct commit_item item;   /* that document; of the thread that has set `sent` */
};

enum bw_code audit_store_open(struct database *database, struct audit_store **store,
                              struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 1,
        .max_bytes = 1024 * 1024,
        .fails_fast = true,
        .fetches_duplicates = true,
    };
    struct audit_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    pthread_mutex_init(&self->mutex, NULL);
    self->tail = &self->waiting;
    *store = self;
    return BW_OK;
}

/* Ends when nothing waits: before a document's completion returns, the next one is submitted. */
void audit_store_close(struct audit_store *store)
{
    if (store == NULL)
        return;
    group_commit_close(store->base.commits);
    store->base.commits = NULL;
    pthread_mutex_destroy(&store->mutex);
    store_close(store);
}

int64_t audit_store_now_ms(const struct audit_store *store)
{
    return database_now_ms(store->base.database);
}

/* ---- Ids ---- */

/* The id of a document: its date, a random number of the process, a counter, and 0. */
static void audit_id_make(int64_t at_ms, bson_oid_t *id)
{
    uint32_t seconds = (uint32_t)(at_ms / 1000);
    uint16_t milliseconds = (uint16_t)(at_ms % 1000);
    bson_oid_init(id, NULL);
    for (unsigned i = 0; i < 4; i++)
        id->bytes[i] = (uint8_t)(seconds >> (24 - 8 * i));
    id->bytes[4] = (uint8_t)(milliseconds >> 8);
    id->bytes[5] = (uint8_t)(milliseconds & 0xFF);
    memmove(id->bytes + 9, id->bytes + 10, 2);
    id->bytes[11] = 0;
}

/* The id of the entry at this position of a document. */
static void audit_id_at(const bson_oid_t *document, size_t position, char *hex)
{
    bson_oid_t id = *document;
    id.bytes[11] = (uint8_t)position;
    bson_oid_to_string(&id, hex);
}

int64_t audit_id_date(const char *id)
{
    unsigned long long seconds = 0, milliseconds = 0;
    char part[9];
    snprintf(part, sizeof part, "%.8s", id);
    seconds = strtoull(part, NULL, 16);
    snprintf(part, sizeof part, "%.4s", id + 8);
    milliseconds = strtoull(part, NULL, 16);
    return (int64_t)(seconds * 1000 + milliseconds);
}

/* ---- Fields ---- */

/* The texts of an entry, by the names of their fields. */
static const struct audit_field {
    const char *name;
    size_t offset, size;
} audit_fields[] = {
#define AUDIT_FIELD(name, member)                                                                \
    {                                                                                            \
        name, offsetof(struct audit_entry, member), sizeof(((struct audit_entry *)NULL)->member) \
    }
    AUDIT_FIELD("action", action),
    AUDIT_FIELD("kind", actor_kind),
    AUDIT_FIELD("actor", actor_name),
    AUDIT_FIELD("token", fingerprint),
    AUDIT_FIELD("course", course),
    AUDIT_FIELD("assignment", assignment),
    AUDIT_FIELD("run", run),
    AUDIT_FIELD("rerun_of", rerun_of),
    AUDIT_FIELD("job", job),
    AUDIT_FIELD("file", file),
    AUDIT_FIELD("worker", worker),
    AUDIT_FIELD("webhook", webhook),
    AUDIT_FIELD("reservation", reservation),
    AUDIT_FIELD("address", address),
    AUDIT_FIELD("request_id", request_id),
#undef AUDIT_FIELD
};

static bson_t *audit_to_fields(const struct audit_entry *entry)
{
    bson_t *fields = bson_new();
    for (size_t i = 0; i < sizeof audit_fields / sizeof *audit_fields; i++) {
        const char *text = (const char *)entry + audit_fields[i].offset;
        if (text[0] != '\0')
            bson_append_utf8(fields, audit_fields[i].name, -1, text, -1);
    }
    return fields;
}

static void audit_from_fields(const bson_t *fields, struct audit_entry *entry)
{
    for (size_t i = 0; i < sizeof audit_fields / sizeof *audit_fields; i++)
        document_text(fields, audit_fields[i].name, (char *)entry + audit_fields[i].offset,
                      audit_fields[i].size);
}

/* ---- Writing ---- */

/* Takes the entries of one document off the queue, with the mutex held: one at least. NULL: none
 * waits. */
static struct audit_commit *audit_store_take(struct audit_store *store)
{
    struct audit_commit *first = store->waiting, **end = &store->waiting;
    size_t bytes = 0;
    for (size_t count = 0; *end != NULL && count < ENTRIES_MAX; count++) {
        bytes += (*end)->fields->len;
        if (count > 0 && bytes > BYTES_MAX)
            break;
        end = &(*end)->next;
    }
    store->waiting = *end;
    if (store->waiting == NULL)
        store->tail = &store->waiting;
    *end = NULL;
    return first;
}

/* A document with these entries, whose fields it frees. */
static bson_t *audit_to_document(struct audit_commit *first, int64_t at_ms)
{
    bson_t *document = bson_new(), list;
    bson_oid_t id;
    char buffer[16];
    size_t position = 0;
    audit_id_make(at_ms, &id);
    BSON_APPEND_OID(document, "_id", &id);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, nonce_new());
    BSON_APPEND_DATE_TIME(document, "at", at_ms);
    BSON_APPEND_ARRAY_BEGIN(document, ENTRIES, &list);
    for (struct audit_commit *commit = first; commit != NULL; commit = commit->next) {
        bson_append_document(&list, document_key(position++, buffer), -1, commit->fields);
        bson_destroy(commit->fields);
    }
    bson_append_array_end(document, &list);
    return document;
}

static void audit_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                  const bson_t *existing);

/* Sends what waits, unless a document is in flight. */
static void audit_store_send(struct audit_store *store)
{
    struct audit_commit *first = NULL;
    pthread_mutex_lock(&store->mutex);
    if (store->sent == NULL)
        store->sent = first = audit_store_take(store);
    pthread_mutex_unlock(&store->mutex);
    if (first == NULL)
        return;
    store->item = (struct commit_item){
        .document = audit_to_document(first, database_now_ms(store->base.database)),
        .expires_ms = first->expires_ms,
        .completed = audit_store_completed,
    };
    group_commit_submit(store->base.commits, &store->item);
}

static void audit_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                  const bson_t *existing)
{
    struct audit_store *store = (struct audit_store *)((char *)item -
                                                       offsetof(struct audit_store, item));
    (void)existing;
    bson_destroy(item->document);
    pthread_mutex_lock(&store->mutex);
    struct audit_commit *commit = store->sent, *next;
    store->sent = NULL;
    pthread_mutex_unlock(&store->mutex);
    audit_store_send(store);
    for (; commit != NULL; commit = next) {
        next = commit->next; /* `completed` may free the commit */
        commit->completed(commit, outcome == COMMIT_DONE);
    }
}

void audit_store_insert(struct audit_store *store, struct audit_commit *commit)
{
    if (FAILPOINT_FAILS("drop_audit_entry")) {
        commit->completed(commit, false);
        return;
    }
    commit->fields = audit_to_fields(&commit->entry);
    commit->expires_ms = clock_boot_ms() + TRY_MS;
    commit->next = NULL;
    pthread_mutex_lock(&store->mutex);
    *store->tail = commit;
    store->tail = &commit->next;
    pthread_mutex_unlock(&store->mutex);
    audit_store_send(store);
}

/* ---- Reading ---- */

struct audit_reading {
    const struct audit_range *range;
    bool (*each)(const struct audit_entry *entry, void *context);
    void *context;
};

/* Whether an entry of a document that was found is of the range: others share the document. */
static bool audit_range_has(const struct audit_range *range, const struct audit_entry *entry)
{
    return (range->course == NULL || strcmp(range->course, entry->course) == 0) &&
           (range->run == NULL || strcmp(range->run, entry->run) == 0) &&
           (range->before == NULL || strcmp(entry->id, range->before) < 0);
}

struct audit_part {
    const uint8_t *data;
    uint32_t length;
};

/* Finds the fields of the entries in a document. Returns their number. */
static size_t audit_find_entries(const bson_t *document, struct audit_part entries[ENTRIES_MAX])
{
    bson_iter_t list, entry;
    size_t count = 0;
    if (!bson_iter_init_find(&list, document, ENTRIES) || !bson_iter_recurse(&list, &entry))
        return 0;
    for (; count < ENTRIES_MAX && bson_iter_next(&entry); count++) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&entry))
            return count;
        bson_iter_document(&entry, &entries[count].length, &entries[count].data);
    }
    return count;
}

/* The last entry of a document is the newest. */
static bool audit_reading_take(const bson_t *document, void *context)
{
    const struct audit_reading *reading = context;
    struct audit_part entries[ENTRIES_MAX];
    bson_iter_t id;
    if (!bson_iter_init_find(&id, document, "_id") || !BSON_ITER_HOLDS_OID(&id))
        return true;
    for (size_t i = audit_find_entries(document, entries); i-- > 0;) {
        struct audit_entry entry = {.at_ms = document_date(document, "at")};
        bson_t fields;
        if (!bson_init_static(&fields, entries[i].data, entries[i].length))
            continue;
        audit_from_fields(&fields, &entry);
        audit_id_at(bson_iter_oid(&id), i, entry.id);
        if (audit_range_has(reading->range, &entry) && !reading->each(&entry, reading->context))
            return false;
    }
    return true;
}

/* The entries of a run are few, so its course is no part of the filter: no index has both. */
static void append_range(bson_t *filter, const struct audit_range *range)
{
    bson_t condition;
    if (range->run != NULL)
        BSON_APPEND_UTF8(filter, ENTRIES ".run", range->run);
    else if (range->course != NULL)
        BSON_APPEND_UTF8(filter, ENTRIES ".course", range->course);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$gte", range->since_ms);
    BSON_APPEND_DATE_TIME(&condition, "$lt", range->until_ms);
    bson_append_document_end(filter, &condition);
}

enum bw_code audit_store_read(struct audit_store *store, const struct audit_range *range,
                              bool (*each)(const struct audit_entry *entry, void *context),
                              void *context, struct bw_error *error)
{
    struct audit_reading reading = {range, each, context};
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    append_range(&filter, range);
    BSON_APPEND_INT32(&sort, "at", -1);
    BSON_APPEND_INT32(&sort, "_id", -1);
    enum bw_code code = database_find_sorted(store->base.database, COLLECTION, &filter, &sort,
                                             audit_reading_take, &reading, error);
    bson_destroy(&filter);
    bson_destroy(&sort);
    return code;
}

/* ---- Removal ---- */

struct audit_removal {
    bson_t ids; /* an array */
    uint32_t count;
};

static void audit_removal_take(const bson_t *document, void *context)
{
    struct audit_removal *removal = context;
    bson_iter_t id;
    char buffer[16];
    if (bson_iter_init_find(&id, document, "_id"))
        bson_append_iter(&removal->ids, document_key(removal->count++, buffer), -1, &id);
}

/* Finds the ids of some documents that are older. */
static enum bw_code audit_removal_find(struct database *database, int64_t before_ms, int64_t limit,
                                       struct audit_removal *removal, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, condition;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$lt", before_ms);
    bson_append_document_end(&filter, &condition);
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find_some(database, COLLECTION, &filter, &projection, limit,
                                           audit_removal_take, removal, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    return code;
}

static enum bw_code audit_removal_delete(struct database *database,
                                         const struct audit_removal *removal,
                                         struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, condition;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &condition);
    BSON_APPEND_ARRAY(&condition, "$in", &removal->ids);
    bson_append_document_end(&filter, &condition);
    enum bw_code code = database_delete(database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

enum bw_code audit_store_remove(struct audit_store *store, int64_t before_ms, int64_t limit,
                                size_t *removed, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    bool is_more = true;
    *removed = 0;
    while (code == BW_OK && is_more && limit > 0) {
        struct audit_removal removal = {.ids = BSON_INITIALIZER, .count = 0};
        int64_t wanted = limit < FILTER_IDS ? limit : FILTER_IDS;
        code = audit_removal_find(store->base.database, before_ms, wanted, &removal, error);
        if (code == BW_OK && removal.count > 0)
            code = audit_removal_delete(store->base.database, &removal, error);
        if (code == BW_OK)
            *removed += removal.count;
        is_more = removal.count == wanted;
        limit -= removal.count;
        bson_destroy(&removal.ids);
    }
    return code;
}
