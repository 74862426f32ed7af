#include "common/store/scheduling_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/class_list.h"
#include "common/store/store.h"

#define COLLECTION "scheduling"
#define FILE_ID "file"
#define SHARE_PREFIX "course/"
#define RESERVATION_PREFIX "reservation/"

enum { ID_SIZE = sizeof RESERVATION_PREFIX + WORKER_ID_SIZE };

struct scheduling_store {
    struct store base;
};

enum bw_code scheduling_store_open(struct database *database, struct scheduling_store **store,
                                   struct bw_error *error)
{
    struct scheduling_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void scheduling_store_close(struct scheduling_store *store)
{
    store_close(store);
}

static const char *scheduling_id(const char *prefix, const char *name, char id[ID_SIZE])
{
    snprintf(id, ID_SIZE, "%s%s", prefix, name);
    return id;
}

/* Sets the name behind the prefix of a document's _id. False: it has another prefix. */
static bool scheduling_id_parse(const bson_t *document, const char *prefix,
                                char name[WORKER_ID_SIZE])
{
    char id[ID_SIZE];
    size_t length = strlen(prefix);
    if (!document_text(document, "_id", id, sizeof id) || strncmp(id, prefix, length) != 0)
        return false;
    snprintf(name, WORKER_ID_SIZE, "%s", id + length);
    return true;
}

/* ---- Documents of shares ---- */

static void append_share_limits(bson_t *document, const struct course_share *share)
{
    if (share->weight != 0)
        BSON_APPEND_INT64(document, "weight", share->weight);
    if (share->has_max_running)
        BSON_APPEND_INT64(document, "max_running", share->max_running);
}

static void read_share_limits(const bson_t *document, struct course_share *share)
{
    int64_t weight = document_integer(document, "weight", 0),
            max_running = document_integer(document, "max_running", -1);
    if (weight > 0 && weight <= COURSE_WEIGHT_MAX)
        share->weight = (uint32_t)weight;
    share->has_max_running = max_running >= 0 && max_running <= COURSE_MAX_RUNNING_MAX;
    if (share->has_max_running)
        share->max_running = (uint32_t)max_running;
}

static bson_t *file_document(const struct course_share *shares, size_t count)
{
    bson_t *document = bson_new(), list, row;
    char buffer[16];
    BSON_APPEND_UTF8(document, "_id", FILE_ID);
    BSON_APPEND_ARRAY_BEGIN(document, "courses", &list);
    for (size_t i = 0; i < count; i++) {
        bson_append_document_begin(&list, document_key(i, buffer), -1, &row);
        BSON_APPEND_UTF8(&row, "course", shares[i].course);
        append_share_limits(&row, &shares[i]);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
    return document;
}

static bson_t *share_document(const struct course_share *share)
{
    char id[ID_SIZE];
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", scheduling_id(SHARE_PREFIX, share->course, id));
    append_share_limits(document, share);
    BSON_APPEND_UTF8(document, "by", share->by);
    BSON_APPEND_DATE_TIME(document, "at", share->at_ms);
    return document;
}

/* ---- Documents of reservations ---- */

static bson_t *reservation_document(const struct reservation *reservation)
{
    char id[ID_SIZE], buffer[16];
    bson_t *document = bson_new(), list;
    BSON_APPEND_UTF8(document, "_id", scheduling_id(RESERVATION_PREFIX, reservation->name, id));
    BSON_APPEND_UTF8(document, "tags", reservation->tags);
    if (reservation->courses != NULL) {
        BSON_APPEND_ARRAY_BEGIN(document, "courses", &list);
        for (size_t i = 0; i < reservation->course_count; i++)
            bson_append_utf8(&list, document_key(i, buffer), -1, reservation->courses[i], -1);
        bson_append_array_end(document, &list);
    }
    class_list_append(document, "classes", reservation->classes);
    BSON_APPEND_UTF8(document, "by", reservation->by);
    BSON_APPEND_UTF8(document, "note", reservation->note);
    BSON_APPEND_DATE_TIME(document, "at", reservation->at_ms);
    if (reservation->until_ms != 0)
        BSON_APPEND_DATE_TIME(document, "until", reservation->until_ms);
    return document;
}

/* Reads the courses. A list that has none allows no course. */
static void read_reservation_courses(const bson_t *document, struct reservation *reservation)
{
    bson_iter_t field, item;
    if (!bson_iter_init_find(&field, document, "courses") || !BSON_ITER_HOLDS_ARRAY(&field) ||
        !bson_iter_recurse(&field, &item))
        return;
    reservation->courses = bw_alloc_array(RESERVATION_COURSES_MAX, sizeof *reservation->courses);
    while (bson_iter_next(&item) && reservation->course_count < RESERVATION_COURSES_MAX)
        if (BSON_ITER_HOLDS_UTF8(&item))
            snprintf(reservation->courses[reservation->course_count++], WORKER_ID_SIZE, "%s",
                     bson_iter_utf8(&item, NULL));
}

/* False: the document is no reservation that this version knows, and nothing is owned. */
static bool reservation_read(const bson_t *document, struct reservation *reservation)
{
    *reservation = (struct reservation){.classes = class_list_read(document, "classes")};
    if (!scheduling_id_parse(document, RESERVATION_PREFIX, reservation->name) ||
        !document_text(document, "tags", reservation->tags, sizeof reservation->tags) ||
        reservation->tags[0] == '\0')
        return false;
    document_text(document, "by", reservation->by, sizeof reservation->by);
    document_text(document, "note", reservation->note, sizeof reservation->note);
    reservation->at_ms = document_date(document, "at");
    reservation->until_ms = document_date(document, "until");
    read_reservation_courses(document, reservation);
    return true;
}

/* ---- Reading ---- */

/* What the documents have, before it is merged. */
struct scheduling_reading {
    struct course_share *stated[2]; /* by the course file, and by operators */
    size_t counts[2], rooms[2];
    struct reservation *reservations;
    size_t reservation_count, reservation_room;
    int64_t now_ms;
    bool has_passed; /* a reservation has ended */
};

static struct course_share *scheduling_reading_add(struct scheduling_reading *reading,
                                                   bool by_operator)
{
    size_t *count = &reading->counts[by_operator], *room = &reading->rooms[by_operator];
    if (*count == *room) {
        *room = *room * 2 + 16;
        reading->stated[by_operator] = bw_grow(reading->stated[by_operator], *room,
                                               sizeof *reading->stated[by_operator]);
    }
    struct course_share *share = &reading->stated[by_operator][(*count)++];
    *share = (struct course_share){.weight = 0};
    return share;
}

static void scheduling_reading_take_file(struct scheduling_reading *reading, const bson_t *document)
{
    bson_iter_t field, item;
    if (!bson_iter_init_find(&field, document, "courses") || !BSON_ITER_HOLDS_ARRAY(&field) ||
        !bson_iter_recurse(&field, &item))
        return;
    while (bson_iter_next(&item)) {
        const uint8_t *bytes;
        uint32_t length;
        bson_t row;
        if (!BSON_ITER_HOLDS_DOCUMENT(&item))
            continue;
        bson_iter_document(&item, &length, &bytes);
        if (!bson_init_static(&row, bytes, length))
            continue;
        struct course_share *share = scheduling_reading_add(reading, false);
        document_text(&row, "course", share->course, sizeof share->course);
        read_share_limits(&row, share);
    }
}

static void scheduling_reading_take_reservation(struct scheduling_reading *reading,
                                                const bson_t *document)
{
    struct reservation found;
    int64_t until_ms = document_date(document, "until");
    if (until_ms != 0 && until_ms <= reading->now_ms) {
        reading->has_passed = true;
        return;
    }
    if (!reservation_read(document, &found))
        return;
    if (reading->reservation_count == reading->reservation_room) {
        reading->reservation_room = reading->reservation_room * 2 + 16;
        reading->reservations = bw_grow(reading->reservations, reading->reservation_room,
                                        sizeof *reading->reservations);
    }
    reading->reservations[reading->reservation_count++] = found;
}

static void scheduling_store_take(const bson_t *document, void *context)
{
    struct scheduling_reading *reading = context;
    char id[ID_SIZE], course[WORKER_ID_SIZE];
    if (!document_text(document, "_id", id, sizeof id))
        return;
    if (strcmp(id, FILE_ID) == 0) {
        scheduling_reading_take_file(reading, document);
    } else if (scheduling_id_parse(document, SHARE_PREFIX, course)) {
        struct course_share *share = scheduling_reading_add(reading, true);
        memcpy(share->course, course, sizeof course);
        read_share_limits(document, share);
        document_text(document, "by", share->by, sizeof share->by);
        share->at_ms = document_date(document, "at");
    } else if (strncmp(id, RESERVATION_PREFIX, strlen(RESERVATION_PREFIX)) == 0) {
        scheduling_reading_take_reservation(reading, document);
    }
}

static int course_share_compare(const void *one, const void *other)
{
    return strcmp(((const struct course_share *)one)->course,
                  ((const struct course_share *)other)->course);
}

static int reservation_compare(const void *one, const void *other)
{
    return strcmp(((const struct reservation *)one)->name,
                  ((const struct reservation *)other)->name);
}

/* What an operator states goes before the course file, field by field. */
static void course_share_merge(struct course_share *share, const struct course_share *by_operator)
{
    if (by_operator->weight != 0)
        share->weight = by_operator->weight;
    if (by_operator->has_max_running) {
        share->max_running = by_operator->max_running;
        share->has_max_running = true;
    }
    memcpy(share->by, by_operator->by, sizeof share->by);
    share->at_ms = by_operator->at_ms;
}

/* Moves both lists of shares into one, in the order of the courses. */
static void scheduling_merge(struct scheduling_reading *reading, struct scheduling *scheduling)
{
    struct course_share **stated = reading->stated;
    size_t known = reading->counts[false], count = known;
    if (known > 0)
        qsort(stated[false], known, sizeof **stated, course_share_compare);
    struct course_share *shares = bw_grow(stated[false], known + reading->counts[true] + 1,
                                          sizeof *shares);
    for (size_t i = 0; i < reading->counts[true]; i++) {
        const struct course_share *share = &stated[true][i];
        struct course_share *found = known == 0 ? NULL
                                                : bsearch(share, shares, known, sizeof *shares,
                                                          course_share_compare);
        if (found != NULL)
            course_share_merge(found, share);
        else
            shares[count++] = *share;
    }
    qsort(shares, count, sizeof *shares, course_share_compare);
    free(stated[true]);
    scheduling->shares = shares;
    scheduling->share_count = count;
}

/* Deletes reservations that have ended. If it fails, the next read tries it again. */
static void scheduling_store_delete_passed(struct scheduling_store *store, int64_t now_ms)
{
    struct bw_error unused;
    bson_t filter = BSON_INITIALIZER, condition;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "until", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$lte", now_ms);
    bson_append_document_end(&filter, &condition);
    if (database_delete(store->base.database, COLLECTION, &filter, &unused) != BW_OK)
        unused.message[0] = '\0';
    bson_destroy(&filter);
}

enum bw_code scheduling_store_read(struct scheduling_store *store, struct scheduling *scheduling,
                                   struct bw_error *error)
{
    struct scheduling_reading reading = {.now_ms = database_now_ms(store->base.database)};
    struct scheduling found = {0};
    bson_t all = BSON_INITIALIZER;
    enum bw_code code = database_find(store->base.database, COLLECTION, &all, NULL,
                                      scheduling_store_take, &reading, error);
    bson_destroy(&all);
    scheduling_merge(&reading, &found);
    if (reading.reservation_count > 0)
        qsort(reading.reservations, reading.reservation_count, sizeof *reading.reservations,
              reservation_compare);
    found.reservations = reading.reservations;
    found.reservation_count = reading.reservation_count;
    if (code != BW_OK) {
        scheduling_clear(&found);
        return code;
    }
    if (reading.has_passed)
        scheduling_store_delete_passed(store, reading.now_ms);
    *scheduling = found;
    return BW_OK;
}

/* ---- Writing ---- */

static enum bw_code scheduling_store_replace(struct scheduling_store *store, bson_t *document,
                                             struct bw_error *error)
{
    const bson_t *const documents[1] = {document};
    enum bw_code code = database_replace_each(store->base.database, COLLECTION, documents, 1,
                                              error);
    bson_destroy(document);
    return code;
}

/* A document that is compared with the one that is stored. */
struct file_comparison {
    const bson_t *document;
    bool is_equal;
};

static void file_compare(const bson_t *document, void *context)
{
    struct file_comparison *comparison = context;
    comparison->is_equal = bson_equal(document, comparison->document);
}

enum bw_code scheduling_store_replace_file(struct scheduling_store *store,
                                           const struct course_share *shares, size_t count,
                                           struct bw_error *error)
{
    static const char *const id = FILE_ID;
    bson_t *document = file_document(shares, count);
    struct file_comparison comparison = {.document = document};
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &id, 1, NULL,
                                          file_compare, &comparison, error);
    if (code != BW_OK || comparison.is_equal) {
        bson_destroy(document);
        return code;
    }
    return scheduling_store_replace(store, document, error);
}

enum bw_code scheduling_store_put_share(struct scheduling_store *store, struct course_share *share,
                                        struct bw_error *error)
{
    share->at_ms = database_now_ms(store->base.database);
    return scheduling_store_replace(store, share_document(share), error);
}

enum bw_code scheduling_store_delete_share(struct scheduling_store *store, const char *course,
                                           struct bw_error *error)
{
    char id[ID_SIZE];
    const char *const text = scheduling_id(SHARE_PREFIX, course, id);
    return database_delete_ids(store->base.database, COLLECTION, &text, 1, NULL, error);
}

/* Counts the reservations with other names that are in force. */
static enum bw_code scheduling_store_count_others(struct scheduling_store *store, const char *name,
                                                  size_t *count, struct bw_error *error)
{
    struct scheduling found;
    enum bw_code code = scheduling_store_read(store, &found, error);
    if (code != BW_OK)
        return code;
    *count = found.reservation_count;
    for (size_t i = 0; i < found.reservation_count; i++)
        *count -= strcmp(found.reservations[i].name, name) == 0;
    scheduling_clear(&found);
    return BW_OK;
}

/* Requests that come at once may store a few more than the limit. */
enum bw_code scheduling_store_put_reservation(struct scheduling_store *store,
                                              struct reservation *reservation, int64_t timeout_ms,
                                              struct bw_error *error)
{
    size_t others;
    enum bw_code code = scheduling_store_count_others(store, reservation->name, &others, error);
    if (code != BW_OK)
        return code;
    if (others >= RESERVATIONS_MAX)
        return bw_fail(error, BW_CONFLICT, "there are %d reservations already: delete one first",
                       (int)RESERVATIONS_MAX);
    reservation->at_ms = database_now_ms(store->base.database);
    reservation->until_ms = timeout_ms == 0 ? 0 : reservation->at_ms + timeout_ms;
    return scheduling_store_replace(store, reservation_document(reservation), error);
}

enum bw_code scheduling_store_delete_reservation(struct scheduling_store *store, const char *name,
                                                 struct bw_error *error)
{
    char id[ID_SIZE];
    const char *const text = scheduling_id(RESERVATION_PREFIX, name, id);
    uint64_t deleted = 0;
    enum bw_code code = database_delete_ids(store->base.database, COLLECTION, &text, 1, &deleted,
                                            error);
    if (code == BW_OK && deleted == 0)
        return bw_fail(error, BW_NOT_FOUND, "there is no reservation '%.40s'", name);
    return code;
}
