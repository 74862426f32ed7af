#include "common/store/leader_store.h"

#include <string.h>

#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "leader"
#define ID "leader"

enum { DUPLICATE_KEY = 11000 };

static const char *const no_grader_fields[PROTOCOLS] = {
#define NO_GRADER_FIELD(unused, protocol, name, title, ...) "no_" title "_grader_since",
    PROTOCOL_MAP(NO_GRADER_FIELD, )
#undef NO_GRADER_FIELD
};

/* Of those that are alive: their number, and the fault of one of them. */
static const struct {
    const char *count, *fault;
} faulty_fields[PROTOCOLS] = {
#define FAULTY_FIELDS(unused, protocol, name, title, ...) \
    {"faulty_" title "_graders", title "_grader_fault"},
    PROTOCOL_MAP(FAULTY_FIELDS, )
#undef FAULTY_FIELDS
};

struct leader_store {
    struct store base;
};

enum bw_code leader_store_open(struct database *database, struct leader_store **store,
                               struct bw_error *error)
{
    struct leader_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void leader_store_close(struct leader_store *store)
{
    store_close(store);
}

static void read_graders(const bson_t *document, int protocol, struct leader *leader)
{
    struct faulty_workers *faulty = &leader->faulty[protocol];
    leader->no_grader_since_ms[protocol] = document_date(document, no_grader_fields[protocol]);
    faulty->count = (uint32_t)document_integer(document, faulty_fields[protocol].count, 0);
    document_text(document, faulty_fields[protocol].fault, faulty->fault, sizeof faulty->fault);
}

bool leader_from_document(const bson_t *document, struct leader *leader)
{
    memset(leader, 0, sizeof *leader);
    document_text(document, "holder", leader->holder, sizeof leader->holder);
    leader->term = document_integer(document, "term", 0);
    leader->renewals = document_integer(document, "renewals", -1);
    leader->expires_ms = document_date(document, "expires_at");
    leader->lease_ms = document_integer(document, "lease_ms", 0);
    /* The mark counts only with the current term, since earlier versions take the lease without
     * removing the mark. They release it by the date 0 alone, which no renewal writes. */
    leader->is_released = document_integer(document, "released_term", -1) == leader->term ||
                          leader->expires_ms == 0;
    if (document_integer(document, "graders_term", -1) == leader->term)
        for (int i = 0; i < PROTOCOLS; i++)
            read_graders(document, i, leader);
    leader->mark = document_integer(document, "mark", 0);
    return leader->holder[0] != '\0';
}

/* Creates the document, released, for the first scheduler. If two do it at once, one of them finds
 * the document of the other. */
static enum bw_code make_document(struct leader_store *store, struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
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
    database_return(store->base.database, client);
    return ok ? BW_OK
              : bw_fail(error, BW_UNAVAILABLE, "the leader document was not made: %.200s",
                        database_mask(reason.message));
}

struct reading {
    struct leader leader;
    int64_t taking; /* nonce of the last takeover */
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
    return database_find_ids(store->base.database, COLLECTION, &id, 1, NULL, take_leader, reading,
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

/* {_id, term, renewals, expires_at}: matches the document only if it is unchanged. Renewals of an
 * earlier version change only the date. */
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
    int64_t taking; /* nonce of the takeover; only with a holder */
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

/* The update may have been done by a try whose answer was lost: the document shows it. */
static enum bw_code classify_taking(struct leader_store *store, int64_t taking,
                                    struct leader *leader, bool *is_taken, struct bw_error *error)
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
    enum bw_code code = database_ping(store->base.database,
                                      error); /* samples the database's clock */
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
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &pipeline,
                                        &matched, error);
    bson_destroy(&filter);
    bson_destroy(&pipeline);
    if (code != BW_OK)
        return code;
    return classify_taking(store, leasing.taking, leader, is_taken, error);
}

enum bw_code leader_store_renew(struct leader_store *store, const char *holder, int64_t term,
                                int64_t renewals, int64_t lease_ms, bool *held,
                                struct bw_error *error)
{
    struct leasing leasing = {.lease_ms = lease_ms, .renewals = renewals};
    bson_t filter = BSON_INITIALIZER, pipeline = BSON_INITIALIZER;
    build_own_filter(&filter, holder, term);
    build_lease(&pipeline, &leasing);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &pipeline, held,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&pipeline);
    return code;
}

/* One plain $set on the caller's own lease. */
static enum bw_code set_own(struct leader_store *store, const char *holder, int64_t term,
                            const bson_t *set, struct bw_error *error)
{
    bool matched = false;
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    build_own_filter(&filter, holder, term);
    BSON_APPEND_DOCUMENT(&update, "$set", set);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &update,
                                        &matched, error);
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
                                       const struct faulty_workers faulty[PROTOCOLS],
                                       struct bw_error *error)
{
    bson_t set = BSON_INITIALIZER;
    BSON_APPEND_INT64(&set, "graders_term", term);
    for (int i = 0; i < PROTOCOLS; i++) {
        BSON_APPEND_DATE_TIME(&set, no_grader_fields[i], no_grader_since_ms[i]);
        BSON_APPEND_INT64(&set, faulty_fields[i].count, faulty[i].count);
        BSON_APPEND_UTF8(&set, faulty_fields[i].fault, faulty[i].fault);
    }
    enum bw_code code = set_own(store, holder, term, &set, error);
    bson_destroy(&set);
    return code;
}

enum bw_code leader_store_peek(struct leader_store *store, struct leader *leader,
                               struct bw_error *error)
{
    struct reading reading = {0};
    enum bw_code code = read_leader(store, &reading, error);
    if (code == BW_OK)
        *leader = reading.leader;
    return code;
}
