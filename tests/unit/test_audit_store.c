#include "common/store/audit_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/db/document.h"

enum { COMMITS = 600, DOCUMENTS = 16 };

static const int64_t now_ms = 1788307140250;

/* A database in memory. An insert is in flight until the test lands it. */
static struct {
    bson_t *documents[DOCUMENTS]; /* the inserted ones, the oldest first */
    size_t count;
    struct commit_item *in_flight;
    int64_t expires_ms;
    char filter[1024]; /* of the last read, as JSON */
} fake;

static struct audit_commit commits[COMMITS];
static size_t stored, unstored;

int64_t database_now_ms(const struct database *database)
{
    (void)database;
    return now_ms;
}

enum bw_code group_commit_open(struct database *database,
                               const struct group_commit_settings *settings,
                               struct group_commit **group_commit, struct bw_error *error)
{
    (void)database, (void)settings, (void)error;
    *group_commit = NULL;
    return BW_OK;
}

static void land(enum commit_outcome outcome)
{
    struct commit_item *item = fake.in_flight;
    assert_non_null(item);
    fake.in_flight = NULL;
    item->completed(item, outcome, NULL);
}

/* As the contract says: all that was submitted, also during a completion. */
void group_commit_close(struct group_commit *group_commit)
{
    (void)group_commit;
    while (fake.in_flight != NULL)
        land(COMMIT_DONE);
}

void group_commit_submit(struct group_commit *group_commit, struct commit_item *item)
{
    (void)group_commit;
    assert_null(fake.in_flight);
    assert_true(fake.count < DOCUMENTS);
    fake.in_flight = item;
    fake.expires_ms = item->expires_ms;
    fake.documents[fake.count++] = bson_copy(item->document);
}

enum bw_code database_find_sorted(struct database *database, const char *collection,
                                  const bson_t *filter, const bson_t *sort,
                                  bool (*each)(const bson_t *document, void *context),
                                  void *context, struct bw_error *error)
{
    (void)database, (void)sort, (void)error;
    assert_string_equal(collection, "audit");
    char *text = bson_as_relaxed_extended_json(filter, NULL);
    snprintf(fake.filter, sizeof fake.filter, "%s", text);
    bson_free(text);
    for (size_t i = fake.count; i-- > 0;)
        if (!each(fake.documents[i], context))
            break;
    return BW_OK;
}

enum bw_code database_find_some(struct database *database, const char *collection,
                                const bson_t *filter, const bson_t *projection, int64_t limit,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error)
{
    (void)database, (void)collection, (void)filter, (void)projection, (void)error;
    for (size_t i = 0; i < fake.count && (int64_t)i < limit; i++)
        each(fake.documents[i], context);
    return BW_OK;
}

enum bw_code database_delete(struct database *database, const char *collection,
                             const bson_t *filter, struct bw_error *error)
{
    (void)database, (void)collection, (void)filter, (void)error;
    for (size_t i = 0; i < fake.count; i++)
        bson_destroy(fake.documents[i]);
    fake.count = 0;
    return BW_OK;
}

static int open_store(void **state)
{
    struct bw_error error;
    memset(&fake, 0, sizeof fake);
    memset(commits, 0, sizeof commits);
    stored = unstored = 0;
    return audit_store_open(NULL, (struct audit_store **)state, &error) == BW_OK ? 0 : -1;
}

static int close_store(void **state)
{
    audit_store_close(*state);
    for (size_t i = 0; i < fake.count; i++)
        bson_destroy(fake.documents[i]);
    return 0;
}

static void completed(struct audit_commit *commit, bool is_stored)
{
    (void)commit;
    stored += is_stored;
    unstored += !is_stored;
}

/* Submits the entries of these numbers. Of every second one the course is "even". */
static void insert(struct audit_store *store, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++) {
        struct audit_entry *entry = &commits[i].entry;
        snprintf(entry->action, sizeof entry->action, "run.create");
        snprintf(entry->course, sizeof entry->course, i % 2 == 0 ? "even" : "odd");
        snprintf(entry->run, sizeof entry->run, "%024zx", i);
        snprintf(entry->request_id, sizeof entry->request_id, "%zu", i);
        commits[i].completed = completed;
        audit_store_insert(store, &commits[i]);
    }
}

static size_t entries_of(size_t number)
{
    bson_iter_t list, entry;
    size_t count = 0;
    assert_true(bson_iter_init_find(&list, fake.documents[number], "entries"));
    assert_true(bson_iter_recurse(&list, &entry));
    while (bson_iter_next(&entry))
        count++;
    return count;
}

/* The numbers of the entries that were read, in this order. */
struct found {
    size_t numbers[COMMITS], count, limit;
    char ids[COMMITS][AUDIT_ID_SIZE];
};

static bool found_take(const struct audit_entry *entry, void *context)
{
    struct found *found = context;
    assert_int_equal(entry->at_ms, now_ms);
    assert_string_equal(entry->action, "run.create");
    memcpy(found->ids[found->count], entry->id, sizeof entry->id);
    found->numbers[found->count++] = strtoul(entry->request_id, NULL, 10);
    return found->count < found->limit;
}

static void read_entries(struct audit_store *store, struct audit_range range, size_t limit,
                         struct found *found)
{
    struct bw_error error;
    range.until_ms = now_ms + 1;
    found->count = 0;
    found->limit = limit;
    assert_int_equal(audit_store_read(store, &range, found_take, found, &error), BW_OK);
}

static void entries_that_arrive_during_a_write_share_a_document(void **state)
{
    insert(*state, 0, 8);
    assert_int_equal(fake.count, 1);
    assert_int_equal(entries_of(0), 1);
    assert_int_equal(stored, 0);
    land(COMMIT_DONE);
    assert_int_equal(stored, 1);
    assert_int_equal(fake.count, 2);
    assert_int_equal(entries_of(1), 7);
    land(COMMIT_DONE);
    assert_int_equal(stored, 8);
    assert_null(fake.in_flight);
    insert(*state, 8, 9);
    assert_int_equal(fake.count, 3);
}

static void a_document_is_bounded_in_entries(void **state)
{
    insert(*state, 0, 1 + 256 + 3);
    land(COMMIT_DONE);
    assert_int_equal(entries_of(1), 256);
    close_store(state);
    assert_int_equal(stored, 1 + 256 + 3);
    open_store(state);
}

static void a_document_is_bounded_in_bytes(void **state)
{
    for (size_t i = 1; i < 400; i++) {
        memset(commits[i].entry.address, 'x', sizeof commits[i].entry.address - 1);
        memset(commits[i].entry.worker, 'x', sizeof commits[i].entry.worker - 1);
    }
    insert(*state, 0, 400);
    for (size_t i = 0; fake.in_flight != NULL; i++) {
        assert_true(fake.documents[i]->len < 64 * 1024 + 4096);
        assert_true(i == 0 || entries_of(i) < 256);
        land(COMMIT_DONE);
    }
    assert_int_equal(stored, 400);
}

static void all_entries_of_a_document_share_its_outcome(void **state)
{
    insert(*state, 0, 4);
    land(COMMIT_UNKNOWN);
    assert_int_equal(unstored, 1);
    land(COMMIT_REFUSED);
    assert_int_equal(unstored, 4);
    insert(*state, 4, 5);
    land(COMMIT_DONE);
    assert_int_equal(stored, 1);
}

static void a_document_is_tried_as_long_as_its_oldest_entry(void **state)
{
    insert(*state, 0, 1);
    insert(*state, 1, 2);
    int64_t first_ms = commits[1].expires_ms;
    insert(*state, 2, 3);
    commits[2].expires_ms += 1000;
    land(COMMIT_DONE);
    assert_int_equal(fake.expires_ms, first_ms);
}

static void closing_completes_what_was_submitted(void **state)
{
    insert(*state, 0, 5);
    close_store(state);
    assert_int_equal(stored, 5);
    open_store(state);
}

static void entries_are_read_newest_first_page_by_page(void **state)
{
    static struct found page;
    char before[AUDIT_ID_SIZE];
    size_t next = 40;
    insert(*state, 0, 20);
    land(COMMIT_DONE);
    insert(*state, 20, 40);
    while (fake.in_flight != NULL)
        land(COMMIT_DONE);
    assert_int_equal(fake.count, 3);
    for (bool is_first = true; is_first || page.count > 0; is_first = false) {
        read_entries(*state, (struct audit_range){.before = is_first ? NULL : before}, 3, &page);
        for (size_t i = 0; i < page.count; i++) {
            assert_int_equal(page.numbers[i], --next);
            assert_int_equal(audit_id_date(page.ids[i]), now_ms);
            assert_true((is_first && i == 0) || strcmp(page.ids[i], before) < 0);
            memcpy(before, page.ids[i], sizeof before);
        }
    }
    assert_int_equal(next, 0);
}

static void other_entries_of_a_document_are_left_out(void **state)
{
    static struct found found;
    insert(*state, 0, 11);
    land(COMMIT_DONE);
    land(COMMIT_DONE);
    read_entries(*state, (struct audit_range){.course = "even"}, COMMITS, &found);
    assert_int_equal(found.count, 6);
    assert_non_null(strstr(fake.filter, "\"entries.course\" : \"even\""));
    for (size_t i = 0; i < found.count; i++)
        assert_int_equal(found.numbers[i], 10 - 2 * i);
    read_entries(*state, (struct audit_range){.run = commits[7].entry.run}, COMMITS, &found);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.numbers[0], 7);
    read_entries(*state, (struct audit_range){.course = "even", .run = commits[7].entry.run},
                 COMMITS, &found);
    assert_int_equal(found.count, 0);
    assert_null(strstr(fake.filter, "course"));
}

static void documents_are_removed_and_counted(void **state)
{
    struct bw_error error;
    size_t removed;
    insert(*state, 0, 5);
    land(COMMIT_DONE);
    land(COMMIT_DONE);
    assert_int_equal(audit_store_remove(*state, now_ms, 1000, &removed, &error), BW_OK);
    assert_int_equal(removed, 2);
    assert_int_equal(audit_store_remove(*state, now_ms, 1000, &removed, &error), BW_OK);
    assert_int_equal(removed, 0);
}

int main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)
    const struct CMUnitTest tests[] = {
        WITH_STORE(entries_that_arrive_during_a_write_share_a_document),
        WITH_STORE(a_document_is_bounded_in_entries),
        WITH_STORE(a_document_is_bounded_in_bytes),
        WITH_STORE(all_entries_of_a_document_share_its_outcome),
        WITH_STORE(a_document_is_tried_as_long_as_its_oldest_entry),
        WITH_STORE(closing_completes_what_was_submitted),
        WITH_STORE(entries_are_read_newest_first_page_by_page),
        WITH_STORE(other_entries_of_a_document_are_left_out),
        WITH_STORE(documents_are_removed_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
