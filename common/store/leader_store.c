#include "common/base/alloc.h"
#include "common/store/leader_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/db/document.h"

#define COLLECTION "leader"
#define ID "leader"

enum { DUPLICATE_KEY = 11000 };

static const char *const no_grader_fields[PROTOCOLS] = {"no_classic_grader_since",
                                                        "no_course_grader_since"};

struct leader_store {
    struct database *database;
};

enum bw_code leader_store_open(struct database *database, struct leader_store **store,
                               struct bw_error *error)
{
    (void)error;
    struct leader_store *self = bw_alloc(sizeof *self);
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
    leader->renewals = document_integer(document, "renewals", -1);
    leader->expires_ms = document_date(document, "expires_at");
    leader->lease_ms = document_integer(document, "lease_ms", 0);
    /* The term tells that the mark is of this holder: earlier versions take the lease without
     * removing it. They mark their own by the date alone, which no renewal ever writes. */
    leader->is_released = document_integer(document, "released_term", -1) == leader->term ||
                          leader->expires_ms == 0;
    if (document_integer(document, "graders_term", -1) == leader->term)
        for (int i = 0; i < PROTOCOLS; i++)
            leader->no_grader_since_ms[i] = document_date(document, no_grader_fields[i]);
    leader->mark = document_integer(document, "mark", 0);
    return leader->holder[0] != '\0';
}

/* The first scheduler ever makes the document, released; of two at once one finds it there. */
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
    BSON_APPEND_INT64(&document, "renewals", 0);
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

/* {_id, term, renewals, expires_at}: the document as it was seen. An earlier version's renewals
 * change the date alone. */
static void build_seen_filter(bson_t *filter, const struct leader *seen)
{
    bson_t absent;
    BSON_APPEND_UTF8(filter, "_id", ID);
    BSON_APPEND_INT64(filter, "term", seen->term);
    BSON_APPEND_DATE_TIME(filter, "expires_at", seen->expires_ms);
    if (seen->renewals >= 0) {
        BSON_APPEND_INT64(filter, "renewals", seen->renewals);
        return;
    }
    BSON_APPEND_DOCUMENT_BEGIN(filter, "renewals", &absent);
    BSON_APPEND_BOOL(&absent, "$exists", false);
    bson_append_document_end(filter, &absent);
}

bool leader_is_unchanged(const struct leader *former, const struct leader *leader)
{
    return former->term == leader->term && former->renewals == leader->renewals &&
           former->expires_ms == leader->expires_ms;
}

struct leasing {
    const char *holder; /* NULL: as it is, and so is the term */
    int64_t lease_ms;
    int64_t renewals;
    int64_t taking; /* nonce; with a holder */
};

/* The pipeline [{$set: {renewals, lease_ms, expires_at: now + lease, and for a taking: holder, term
 * + 1, its nonce}}]. */
static void build_lease(bson_t *pipeline, const struct leasing *leasing)
{
    bson_t stage, set, literal;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$set", &set);
    append_sum(&set, "expires_at", "$$NOW", leasing->lease_ms);
    BSON_APPEND_INT64(&set, "renewals", leasing->renewals);
    BSON_APPEND_INT64(&set, "lease_ms", leasing->lease_ms);
    if (leasing->holder != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(&set, "holder", &literal);
        BSON_APPEND_UTF8(&literal, "$literal", leasing->holder);
        bson_append_document_end(&set, &literal);
        append_sum(&set, "term", "$term", 1);
        BSON_APPEND_INT64(&set, "taking", leasing->taking);
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

enum bw_code leader_store_read(struct leader_store *store, struct leader *leader,
                               struct bw_error *error)
{
    struct reading reading = {0};
    enum bw_code code = database_ping(store->database, error); /* its clock, now */
    if (code == BW_OK)
        code = read_leader(store, &reading, error);
    if (code == BW_OK && !reading.is_found) {
        code = make_document(store, error);
        if (code == BW_OK)
            code = read_leader(store, &reading, error);
    }
    if (code != BW_OK)
        return code;
    *leader = reading.leader;
    return BW_OK;
}

enum bw_code leader_store_take(struct leader_store *store, const char *holder, int64_t lease_ms,
                               const struct leader *seen, struct leader *leader, bool *is_taken,
                               struct bw_error *error)
{
    struct leasing leasing = {.holder = holder, .lease_ms = lease_ms, .taking = nonce_new()};
    bool matched;
    bson_t filter = BSON_INITIALIZER, pipeline = BSON_INITIALIZER;
    build_seen_filter(&filter, seen);
    build_lease(&pipeline, &leasing);
    enum bw_code code = database_update(store->database, COLLECTION, &filter, &pipeline, &matched,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&pipeline);
    if (code != BW_OK)
        return code;
    return judge_taking(store, leasing.taking, leader, is_taken, error);
}

enum bw_code leader_store_renew(struct leader_store *store, const char *holder, int64_t term,
                                int64_t renewals, int64_t lease_ms, bool *held,
                                struct bw_error *error)
{
    struct leasing leasing = {.lease_ms = lease_ms, .renewals = renewals};
    bson_t filter = BSON_INITIALIZER, pipeline = BSON_INITIALIZER;
    build_own_filter(&filter, holder, term);
    build_lease(&pipeline, &leasing);
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
    BSON_APPEND_INT64(&set, "released_term", term);
    BSON_APPEND_DATE_TIME(&set, "expires_at", 0); /* for earlier versions */
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

enum bw_code leader_store_note_graders(struct leader_store *store, const char *holder, int64_t term,
                                       const int64_t no_grader_since_ms[PROTOCOLS],
                                       struct bw_error *error)
{
    bson_t set = BSON_INITIALIZER;
    BSON_APPEND_INT64(&set, "graders_term", term);
    for (int i = 0; i < PROTOCOLS; i++)
        BSON_APPEND_DATE_TIME(&set, no_grader_fields[i], no_grader_since_ms[i]);
    enum bw_code code = set_own(store, holder, term, &set, error);
    bson_destroy(&set);
    return code;
}

enum bw_code leader_store_look(struct leader_store *store, struct leader *leader,
                               struct bw_error *error)
{
    struct reading reading = {0};
    enum bw_code code = read_leader(store, &reading, error);
    if (code == BW_OK)
        *leader = reading.leader;
    return code;
}
