#include "common/store/leader_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/document.h"

#define COLLECTION "leader"
#define ID "leader"

enum { DUPLICATE_KEY = 11000 };

struct leader_store {
    struct database *database;
};

enum bw_code leader_store_open(struct database *database, struct leader_store **store,
                               struct bw_error *error)
{
    (void)error;
    struct leader_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->database = database;
    *store = self;
    return BW_OK;
}

void leader_store_close(struct leader_store *store)
{
    free(store);
}

bool leader_from_document(const bson_t *document, struct leader *leader)
{
    memset(leader, 0, sizeof *leader);
    document_text(document, "holder", leader->holder, sizeof leader->holder);
    leader->term = document_integer(document, "term", 0);
    leader->mark = document_integer(document, "mark", 0);
    return leader->holder[0] != '\0';
}

/* The first scheduler ever makes the document, expired; of two at once one finds it there. */
static enum bw_code make_document(struct leader_store *store, struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->database, client, COLLECTION);
    bson_t document = BSON_INITIALIZER;
    bson_error_t reason;
    BSON_APPEND_UTF8(&document, "_id", ID);
    BSON_APPEND_UTF8(&document, "holder", "nobody");
    BSON_APPEND_INT64(&document, "term", 0);
    BSON_APPEND_INT64(&document, "taking", 0);
    BSON_APPEND_DATE_TIME(&document, "expires_at", 0);
    bool ok = mongoc_collection_insert_one(into, &document, NULL, NULL, &reason) ||
              reason.code == DUPLICATE_KEY;
    bson_destroy(&document);
    mongoc_collection_destroy(into);
    database_return(store->database, client);
    return ok ? BW_OK
              : bw_fail(error, BW_UNAVAILABLE, "the leader document was not made: %.200s",
                        database_mask(reason.message));
}

struct reading {
    struct leader leader;
    int64_t taking; /* nonce of the last taking */
    bool is_found;
};

static void take_leader(const bson_t *document, void *context)
{
    struct reading *reading = context;
    reading->is_found = leader_from_document(document, &reading->leader);
    reading->taking = document_integer(document, "taking", 0);
}

static enum bw_code read_leader(struct leader_store *store, struct reading *reading,
                                struct bw_error *error)
{
    const char *id = ID;
    return database_find_ids(store->database, COLLECTION, &id, 1, NULL, take_leader, reading,
                             error);
}

/* FIELD: {$add: [LEFT, NUMBER]} */
static void append_sum(bson_t *object, const char *field, const char *left, int64_t number)
{
    bson_t sum, terms;
    BSON_APPEND_DOCUMENT_BEGIN(object, field, &sum);
    BSON_APPEND_ARRAY_BEGIN(&sum, "$add", &terms);
    BSON_APPEND_UTF8(&terms, "0", left);
    BSON_APPEND_INT64(&terms, "1", number);
    bson_append_array_end(&sum, &terms);
    bson_append_document_end(object, &sum);
}

/* {_id, expires_at: {$lt: now}}: `now_ms` is the database's date of a moment ago, so that a delay
 * errs on the safe side. (A comparison with $$NOW would say the same; not every server evaluates
 * it.) */
static void build_expired_filter(bson_t *filter, int64_t now_ms)
{
    bson_t condition;
    BSON_APPEND_UTF8(filter, "_id", ID);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "expires_at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$lt", now_ms);
    bson_append_document_end(filter, &condition);
}

/* The pipeline [{$set: {expires_at: now + lease, and for a taking: holder, term + 1, its nonce}}].
 */
static void build_lease(bson_t *pipeline, const char *holder, int64_t lease_ms, int64_t taking)
{
    bson_t stage, set, literal;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$set", &set);
    append_sum(&set, "expires_at", "$$NOW", lease_ms);
    if (taking != 0) {
        BSON_APPEND_DOCUMENT_BEGIN(&set, "holder", &literal);
        BSON_APPEND_UTF8(&literal, "$literal", holder);
        bson_append_document_end(&set, &literal);
        append_sum(&set, "term", "$term", 1);
        BSON_APPEND_INT64(&set, "taking", taking);
    }
    bson_append_document_end(&stage, &set);
    bson_append_document_end(pipeline, &stage);
}

/* {_id, holder, term}: one's own lease. */
static void build_own_filter(bson_t *filter, const char *holder, int64_t term)
{
    BSON_APPEND_UTF8(filter, "_id", ID);
    BSON_APPEND_UTF8(filter, "holder", holder);
    BSON_APPEND_INT64(filter, "term", term);
}

/* The update may have been done by a try whose answer was lost: the document tells. */
static enum bw_code judge_taking(struct leader_store *store, int64_t taking, struct leader *leader,
                                 bool *is_taken, struct bw_error *error)
{
    struct reading reading = {0};
    enum bw_code code = read_leader(store, &reading, error);
    if (code != BW_OK)
        return code;
    *leader = reading.leader;
    *is_taken = reading.is_found && reading.taking == taking;
    return BW_OK;
}

enum bw_code leader_store_take(struct leader_store *store, const char *holder, int64_t lease_ms,
                               struct leader *leader, bool *is_taken, struct bw_error *error)
{
    struct reading reading = {0};
    enum bw_code code = database_ping(store->database, error); /* its clock, now */
    if (code == BW_OK)
        code = read_leader(store, &reading, error);
    if (code == BW_OK && !reading.is_found)
        code = make_document(store, error);
    if (code != BW_OK)
        return code;
    int64_t taking = nonce_new();
    bool matched;
    bson_t filter = BSON_INITIALIZER, pipeline = BSON_INITIALIZER;
    build_expired_filter(&filter, database_now_ms(store->database));
    build_lease(&pipeline, holder, lease_ms, taking);
    code = database_update(store->database, COLLECTION, &filter, &pipeline, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&pipeline);
    if (code != BW_OK)
        return code;
    return judge_taking(store, taking, leader, is_taken, error);
}

enum bw_code leader_store_renew(struct leader_store *store, const char *holder, int64_t term,
                                int64_t lease_ms, bool *held, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, pipeline = BSON_INITIALIZER;
    build_own_filter(&filter, holder, term);
    build_lease(&pipeline, holder, lease_ms, 0);
    enum bw_code code = database_update(store->database, COLLECTION, &filter, &pipeline, held,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&pipeline);
    return code;
}

/* One classic $set on one's own lease. */
static enum bw_code set_own(struct leader_store *store, const char *holder, int64_t term,
                            const bson_t *set, struct bw_error *error)
{
    bool matched = false;
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    build_own_filter(&filter, holder, term);
    BSON_APPEND_DOCUMENT(&update, "$set", set);
    enum bw_code code = database_update(store->database, COLLECTION, &filter, &update, &matched,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    if (code == BW_OK && !matched)
        return bw_fail(error, BW_CONFLICT, "somebody else leads now");
    return code;
}

enum bw_code leader_store_release(struct leader_store *store, const char *holder, int64_t term,
                                  struct bw_error *error)
{
    bson_t set = BSON_INITIALIZER;
    BSON_APPEND_DATE_TIME(&set, "expires_at", 0);
    enum bw_code code = set_own(store, holder, term, &set, error);
    bson_destroy(&set);
    return code;
}

enum bw_code leader_store_mark(struct leader_store *store, const char *holder, int64_t term,
                               int64_t mark, struct bw_error *error)
{
    bson_t set = BSON_INITIALIZER;
    BSON_APPEND_INT64(&set, "mark", mark);
    enum bw_code code = set_own(store, holder, term, &set, error);
    bson_destroy(&set);
    return code;
}
