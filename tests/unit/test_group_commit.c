#include "common/db/group_commit.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>

#include "tests/unit/fake_collection.h"

enum { MOST_NOTES = 4096, TRY_MS = 15000, SHORT_MS = 250, PAUSE_MS = 100, FOREIGN = 99 };

/* An item and its outcome. Guarded by the fake's mutex once submitted. */
struct note {
    struct commit_item item;
    size_t calls;
    enum commit_outcome outcome;
    int64_t completed_ms;
    bool has_existing, existing_has_text;
    int64_t existing_nonce;
    struct note *following; /* submitted when this one is complete */
};

struct fixture {
    struct group_commit_settings settings;
    struct group_commit *commits;
    struct note notes[MOST_NOTES];
    size_t count, completed;
};

static struct fixture *fixture_now; /* an item knows its callback, but no context */

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->settings = (struct group_commit_settings){.collection = "things",
                                                       .max_documents = 100,
                                                       .max_bytes = 1000000,
                                                       .fetches_duplicates = true,
                                                       .excluded_fields = {"text"}};
    fake_open();
    fixture_now = fixture;
    *state = fixture;
    return 0;
}

static void close_commits(struct fixture *fixture)
{
    group_commit_close(fixture->commits);
    fixture->commits = NULL;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fake_hold(false);
    close_commits(fixture);
    int borrowed = fake.borrowed;
    fake_close();
    for (size_t i = 0; i < fixture->count; i++)
        bson_destroy(fixture->notes[i].item.document);
    free(fixture);
    return borrowed; /* all must have been returned */
}

static void open_commits(struct fixture *fixture)
{
    struct bw_error error;
    assert_int_equal(group_commit_open(NULL, &fixture->settings, &fixture->commits, &error), BW_OK);
}

static void note_completed(struct commit_item *item, enum commit_outcome outcome,
                           const bson_t *existing)
{
    struct note *note = (struct note *)item;
    pthread_mutex_lock(&fake.mutex);
    note->calls++;
    note->outcome = outcome;
    note->completed_ms = clock_boot_ms();
    if (existing != NULL) {
        note->has_existing = true;
        note->existing_has_text = bson_has_field(existing, "text");
        note->existing_nonce = document_integer(existing, DOCUMENT_NONCE, 0);
    }
    fixture_now->completed++;
    struct note *following = note->following;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.mutex);
    if (following != NULL)
        group_commit_submit(fixture_now->commits, &following->item);
}

static bson_t *document_new(const char *id, int64_t nonce)
{
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, nonce);
    return document;
}

static struct note *note_new(struct fixture *fixture, const char *id, int64_t try_ms)
{
    struct note *note = &fixture->notes[fixture->count++];
    note->item.document = document_new(id, (int64_t)fixture->count);
    note->item.expires_ms = clock_boot_ms() + try_ms;
    note->item.completed = note_completed;
    return note;
}

static struct note *submit_for(struct fixture *fixture, const char *id, int64_t try_ms)
{
    struct note *note = note_new(fixture, id, try_ms);
    group_commit_submit(fixture->commits, &note->item);
    return note;
}

static struct note *submit(struct fixture *fixture, const char *id)
{
    return submit_for(fixture, id, TRY_MS);
}

/* One per letter of `ids`. Returns the first. */
static struct note *submit_each(struct fixture *fixture, const char *ids)
{
    struct note *first = &fixture->notes[fixture->count];
    for (; *ids != '\0'; ids++)
        submit(fixture, (char[]){*ids, '\0'});
    return first;
}

/* Submits an item, and returns when its insert is in flight and held. */
static void submit_held(struct fixture *fixture, const char *id)
{
    fake_hold(true);
    submit(fixture, id);
    assert_true(fake_wait_inserts(1));
}

/* Stores another document under this id. */
static void store_foreign(const char *id)
{
    bson_t *document = document_new(id, FOREIGN);
    BSON_APPEND_UTF8(document, "text", "a long one");
    fake_store(document);
    bson_destroy(document);
}

static void wait_completed(struct fixture *fixture)
{
    pthread_mutex_lock(&fake.mutex);
    bool are_all = fake_wait(&fixture->completed, fixture->count);
    pthread_mutex_unlock(&fake.mutex);
    assert_true(are_all);
}

/* Checks that each item was completed once, all with the same outcome except `other` (may be NULL).
 */
static void assert_completed(struct fixture *fixture, enum commit_outcome outcome,
                             const struct note *other)
{
    wait_completed(fixture);
    for (size_t i = 0; i < fixture->count; i++) {
        const struct note *note = &fixture->notes[i];
        assert_int_equal(note->calls, 1);
        if (note != other)
            assert_int_equal(note->outcome, outcome);
    }
}

/* Checks the documents of the inserts so far, as in "x, a b c, d". */
static void assert_inserts(const char *expected)
{
    char text[1024] = "";
    size_t length = 0;
    pthread_mutex_lock(&fake.mutex);
    for (size_t i = 0; i < fake.count && length < sizeof text; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", i > 0 ? ", " : "",
                                   fake.inserts[i].ids);
    pthread_mutex_unlock(&fake.mutex);
    assert_string_equal(text, expected);
}

static void lone_insert_is_sent_at_once(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit(fixture, "a");
    assert_completed(fixture, COMMIT_DONE, NULL);
    submit(fixture, "b");
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("a, b");
}

static void inserts_join_the_next_batch_while_one_is_in_flight(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    assert_int_equal(fake_insert_count(), 1);
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b c");
}

static void batch_is_bounded_in_documents(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 3;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abcdefg");
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b c, d e f, g");
}

static void batch_is_bounded_in_bytes(void **state)
{
    struct fixture *fixture = *state;
    bson_t *sample = document_new("a", 1);
    fixture->settings.max_bytes = 3 * (size_t)sample->len;
    bson_destroy(sample);
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abcdefg");
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b c, d e f, g");
}

static void document_larger_than_the_bound_goes_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_bytes = 200;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "ab");
    struct note *large = note_new(fixture, "large", TRY_MS);
    BSON_APPEND_BINARY(large->item.document, "bytes", BSON_SUBTYPE_BINARY, (uint8_t[500]){0}, 500);
    group_commit_submit(fixture->commits, &large->item);
    submit_each(fixture, "cd");
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b, large, c d");
}

static void bound_above_the_largest_batch_is_reduced(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1000000;
    open_commits(fixture);
    submit_held(fixture, "x");
    for (int i = 0; i < 1500; i++) {
        char id[FAKE_ID_SIZE];
        snprintf(id, sizeof id, "%d", i);
        submit(fixture, id);
    }
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_int_equal(fake_insert_count(), 3);
    assert_int_equal(fake_insert_at(1).count, 1024);
    assert_int_equal(fake_insert_at(2).count, 476);
}

static void inserts_are_unordered_and_as_durable_as_their_collection(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit(fixture, "a");
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_true(
        fake_insert_at(0).is_unordered);       /* a document that fails does not stop the others */
    assert_int_equal(fake_insert_at(0).w, -1); /* the collection's default: majority and journal */
}

static void failing_batch_is_halved_until_the_invalid_document_is_alone(void **state)
{
    struct fixture *fixture = *state;
    fake.poison[0] = "f";
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *culprit = submit_each(fixture, "abcdefgh") + 5;
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, culprit);
    assert_int_equal(culprit->outcome, COMMIT_REFUSED);
    assert_inserts("x, a b c d e f g h, a b c d, e f g h, e f, e, f, g h");
    assert_int_equal(HASH_COUNT(fake.stored), 8);
}

static void batch_of_any_size_is_halved_for_every_invalid_document(void **state)
{
    struct fixture *fixture = *state;
    fake.poison[0] = "a";
    fake.poison[1] = "g";
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *first = submit_each(fixture, "abcdefg");
    fake_hold(false);
    wait_completed(fixture);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(first[i].outcome, i == 0 || i == 6 ? COMMIT_REFUSED : COMMIT_DONE);
    assert_inserts("x, a b c d e f g, a b c, a, b c, d e f g, d e, f g, f, g");
    assert_int_equal(HASH_COUNT(fake.stored), 6);
}

static void outage_during_the_halving_is_not_a_refusal(void **state)
{
    struct fixture *fixture = *state;
    fake.poison[0] = "d";
    fake.outage_from = 3; /* x, a b c d, a b, c d */
    fake.outage_end = 4;
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *culprit = submit_each(fixture, "abcd") + 3;
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, culprit);
    assert_int_equal(culprit->outcome, COMMIT_REFUSED);
    assert_inserts("x, a b c d, a b, c d, c d, c, d");
}

static void document_refused_individually_needs_no_second_round_trip(void **state)
{
    struct fixture *fixture = *state;
    fake.refused = "b";
    fake.refusal = FAKE_FOR_GOOD;
    fake.refusals = 1;
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *refused = submit_each(fixture, "abc") + 1;
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, refused);
    assert_int_equal(refused->outcome, COMMIT_REFUSED);
    assert_inserts("x, a b c");
}

static void document_with_a_temporary_failure_is_retried_alone(void **state)
{
    struct fixture *fixture = *state;
    fake.refused = "b";
    fake.refusal = FAKE_PASSING;
    fake.refusals = 2;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b c, b, b");
}

static void documents_are_retried_after_an_outage_before_later_ones(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 2;
    fake.outage_from = 1;
    fake.outage_end = 3;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abcd");
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b, a b, a b, c d");
}

static bool count_calls(void *context)
{
    atomic_fetch_add((atomic_int *)context, 1);
    return true;
}

/* Submits an item whose first try fails, and waits until it is in the queue again. The fence is
 * called before the try, after it, and once more for the queue. */
static void submit_returned(struct fixture *fixture, const char *id)
{
    static atomic_int calls;
    atomic_store(&calls, 0);
    fixture->settings.fence = (struct fence){count_calls, &calls};
    fake.outage_end = 1;
    open_commits(fixture);
    submit(fixture, id);
    int64_t until_ms = clock_boot_ms() + FAKE_WAIT_MS;
    while (atomic_load(&calls) < 3 && clock_boot_ms() < until_ms)
        sched_yield();
    assert_true(atomic_load(&calls) >= 3);
}

static void items_queue_after_a_returned_item(void **state)
{
    struct fixture *fixture = *state;
    submit_returned(fixture, "a");
    submit(fixture, "b");
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_int_equal(HASH_COUNT(fake.stored), 2);
}

static void retry_after_a_failure_waits(void **state)
{
    struct fixture *fixture = *state;
    submit_returned(fixture, "a");
    submit_each(fixture, "bc"); /* these must not shorten the pause */
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_true(fake_insert_at(1).came_ms - fake_insert_at(0).came_ms >= PAUSE_MS - 1);
}

static void try_without_a_client_is_retried(void **state)
{
    struct fixture *fixture = *state;
    fake.clientless = 2;
    open_commits(fixture);
    submit(fixture, "a");
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("a");
}

static void expired_item_is_unknown(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = SIZE_MAX;
    open_commits(fixture);
    struct note *note = submit_for(fixture, "a", 4 * SHORT_MS);
    assert_completed(fixture, COMMIT_UNKNOWN, NULL);
    assert_true(note->completed_ms >= note->item.expires_ms);
    assert_true(fake_insert_count() > 1);
}

static void each_item_of_a_batch_has_its_own_time(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit_held(fixture, "x");
    fake.outage_from = 1; /* until the first item has expired */
    fake.outage_end = SIZE_MAX;
    struct note *hurried = submit_for(fixture, "a", SHORT_MS);
    submit(fixture, "b");
    fake_hold(false);
    pthread_mutex_lock(&fake.mutex);
    assert_true(fake_wait(&fixture->completed, 2));
    assert_int_equal(hurried->calls, 1);
    fake.outage_end = 0;
    pthread_mutex_unlock(&fake.mutex);
    assert_completed(fixture, COMMIT_DONE, hurried);
    assert_int_equal(hurried->outcome, COMMIT_UNKNOWN);
}

static void queued_item_expires_in_time_during_an_outage(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1;
    fake.outage_end = SIZE_MAX;
    open_commits(fixture);
    submit_held(fixture, "a");
    struct note *waiting = submit_for(fixture, "b", SHORT_MS);
    submit(fixture, "c");
    fake_hold(false);
    pthread_mutex_lock(&fake.mutex);
    assert_true(fake_wait(&fixture->completed, 1));
    assert_int_equal(waiting->calls, 1);
    fake.outage_end = 0;
    pthread_mutex_unlock(&fake.mutex);
    assert_completed(fixture, COMMIT_DONE, waiting);
    assert_int_equal(waiting->outcome, COMMIT_UNKNOWN);
    assert_true(waiting->completed_ms >= waiting->item.expires_ms);
    for (size_t i = 0; i < fake_insert_count(); i++)
        assert_string_not_equal(fake_insert_at(i).ids, "b");
}

static void queue_is_consistent_after_its_last_item_expired(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1;
    fake.outage_end = 1;
    open_commits(fixture);
    submit_held(fixture, "a");
    submit(fixture, "b");
    struct note *following = note_new(fixture, "d", TRY_MS), *hurried = note_new(fixture, "c", 0);
    hurried->following = following; /* it is submitted while the others wait for the next try */
    group_commit_submit(fixture->commits, &hurried->item);
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, hurried);
    assert_int_equal(hurried->outcome, COMMIT_UNKNOWN);
    assert_inserts("a, a, b, d");
}

static void repeated_insert_recognises_its_own_document(void **state)
{
    struct fixture *fixture = *state;
    fake.lost_every = 2;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "ab");
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b, a b");
    assert_int_equal(fake.finds, 1);
}

static void repeated_insert_with_an_object_id_recognises_its_document(void **state)
{
    struct fixture *fixture = *state;
    fake.lost_every = 2;
    bson_oid_t oid;
    bson_oid_init(&oid, NULL);
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *note = note_new(fixture, "", TRY_MS);
    bson_reinit(note->item.document);
    BSON_APPEND_OID(note->item.document, "_id", &oid);
    BSON_APPEND_INT64(note->item.document, DOCUMENT_NONCE, 1);
    group_commit_submit(fixture->commits, &note->item);
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_int_equal(fake_insert_count(), 3);
}

static void fails_fast_while_the_database_is_unavailable(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.fails_fast = true;
    fake.is_unavailable = true;
    fake.clientless = SIZE_MAX;
    open_commits(fixture);
    int64_t begun_ms = clock_boot_ms();
    submit_each(fixture, "abc");
    assert_completed(fixture, COMMIT_UNKNOWN, NULL);
    assert_true(clock_boot_ms() - begun_ms < TRY_MS / 2);
    assert_inserts("");
}

static bool is_open(void *context)
{
    return atomic_load((atomic_bool *)context);
}

static void closed_fence_completes_items_as_unknown(void **state)
{
    struct fixture *fixture = *state;
    atomic_bool open = true;
    fixture->settings.fence = (struct fence){is_open, &open};
    fake.outage_end = FAKE_INSERTS;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    atomic_store(&open, false);
    fake_hold(false);
    assert_completed(fixture, COMMIT_UNKNOWN, NULL);
    assert_inserts("x"); /* the insert in flight, and none after it */
}

static void insert_in_flight_when_the_fence_closed_is_done(void **state)
{
    struct fixture *fixture = *state;
    atomic_bool open = true;
    fixture->settings.fence = (struct fence){is_open, &open};
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *late = submit(fixture, "a");
    atomic_store(&open, false);
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, late);
    assert_int_equal(late->outcome, COMMIT_UNKNOWN);
}

static void duplicate_is_reported_without_the_excluded_fields(void **state)
{
    struct fixture *fixture = *state;
    store_foreign("b");
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *second = submit_each(fixture, "abc") + 1;
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, second);
    assert_int_equal(second->outcome, COMMIT_DUPLICATE);
    assert_true(second->has_existing);
    assert_int_equal(second->existing_nonce, FOREIGN);
    assert_false(second->existing_has_text);
    assert_inserts("x, a b c");
}

static void duplicate_within_a_batch_gets_the_first_document(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *second = submit_each(fixture, "aa") + 1;
    fake_hold(false);
    assert_completed(fixture, COMMIT_DONE, second);
    assert_int_equal(second->outcome, COMMIT_DUPLICATE);
    assert_int_equal(second->existing_nonce, 2); /* x was the first note */
    assert_false(second[-1].has_existing);
}

static void duplicate_is_not_read_unless_configured(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.fetches_duplicates = false;
    store_foreign("a");
    open_commits(fixture);
    struct note *note = submit(fixture, "a");
    assert_completed(fixture, COMMIT_DUPLICATE, NULL);
    assert_false(note->has_existing);
    assert_int_equal(fake.finds, 0);
}

static void duplicate_not_yet_at_a_majority_is_retried(void **state)
{
    struct fixture *fixture = *state;
    fake.late_finds = 2;
    store_foreign("a");
    open_commits(fixture);
    struct note *note = submit(fixture, "a");
    assert_completed(fixture, COMMIT_DUPLICATE, NULL);
    assert_true(note->has_existing);
    assert_inserts("a, a, a");
}

static void unreadable_duplicate_is_retried(void **state)
{
    struct fixture *fixture = *state;
    fake.failing_finds = 1;
    store_foreign("a");
    open_commits(fixture);
    struct note *note = submit(fixture, "a");
    assert_completed(fixture, COMMIT_DUPLICATE, NULL);
    assert_int_equal(note->existing_nonce, FOREIGN);
    assert_inserts("a, a");
}

static void completed_item_may_submit_another(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    struct note *second = note_new(fixture, "b", TRY_MS), *first = note_new(fixture, "a", TRY_MS);
    first->following = second;
    group_commit_submit(fixture->commits, &first->item);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_inserts("a, b");
}

static void closing_completes_all_submitted_items(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1;
    open_commits(fixture);
    submit_each(fixture, "abcdefghijklmnopqrstuvwxyz");
    close_commits(fixture);
    assert_int_equal(fixture->completed, 26);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_int_equal(HASH_COUNT(fake.stored), 26);
}

static void closing_waits_for_a_temporary_outage(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = 2;
    open_commits(fixture);
    submit_each(fixture, "abc");
    close_commits(fixture);
    assert_int_equal(fixture->completed, 3);
    assert_completed(fixture, COMMIT_DONE, NULL);
}

static void closing_during_an_outage_waits_at_most_for_the_items_time(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = SIZE_MAX;
    open_commits(fixture);
    int64_t begun_ms = clock_boot_ms();
    submit_for(fixture, "a", SHORT_MS);
    submit_for(fixture, "b", SHORT_MS);
    close_commits(fixture);
    assert_int_equal(fixture->completed, 2);
    assert_completed(fixture, COMMIT_UNKNOWN, NULL);
    assert_true(clock_boot_ms() - begun_ms < TRY_MS);
}

static void closing_null_is_allowed(void **state)
{
    (void)state;
    group_commit_close(NULL);
}

enum { THREADS = 8, EACH = 500, BOUND = 64 };

struct crowd {
    struct fixture *fixture;
    size_t from;
};

static void *submit_many(void *context)
{
    const struct crowd *crowd = context;
    for (size_t i = 0; i < EACH; i++)
        group_commit_submit(crowd->fixture->commits, &crowd->fixture->notes[crowd->from + i].item);
    return NULL;
}

/* Submits the prepared notes, `EACH` from each thread. */
static void run_crowd(struct fixture *fixture)
{
    struct crowd crowds[THREADS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        crowds[i] = (struct crowd){fixture, i * EACH};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &crowds[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void concurrent_inserts_are_each_done_once_although_some_fail(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = BOUND;
    fake.outage_from = 3;
    fake.outage_end = 6;
    fake.lost_every = 10;
    open_commits(fixture);
    for (int i = 0; i < THREADS * EACH; i++) {
        char id[FAKE_ID_SIZE];
        snprintf(id, sizeof id, "%d", i);
        note_new(fixture, id, 4 * TRY_MS);
    }
    run_crowd(fixture);
    close_commits(fixture);
    assert_completed(fixture, COMMIT_DONE, NULL);
    assert_int_equal(HASH_COUNT(fake.stored), THREADS * EACH);
    for (size_t i = 0; i < fake.count; i++)
        assert_in_range(fake_insert_at(i).count, 1, BOUND);
}

static void concurrent_inserts_of_one_id_are_done_once(void **state)
{
    struct fixture *fixture = *state;
    int64_t winners[EACH] = {0};
    fixture->settings.max_documents = BOUND;
    open_commits(fixture);
    for (int i = 0; i < THREADS * EACH; i++) {
        char id[FAKE_ID_SIZE];
        snprintf(id, sizeof id, "%d", i % EACH);
        note_new(fixture, id, 4 * TRY_MS);
    }
    run_crowd(fixture);
    wait_completed(fixture);
    for (size_t i = 0; i < fixture->count; i++)
        if (fixture->notes[i].outcome == COMMIT_DONE) {
            assert_int_equal(winners[i % EACH], 0);
            winners[i % EACH] = (int64_t)i + 1; /* its nonce */
        }
    for (size_t i = 0; i < fixture->count; i++)
        if (fixture->notes[i].outcome != COMMIT_DONE) {
            assert_int_equal(fixture->notes[i].outcome, COMMIT_DUPLICATE);
            assert_int_equal(fixture->notes[i].existing_nonce, winners[i % EACH]);
        }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lone_insert_is_sent_at_once),
        CASE(inserts_join_the_next_batch_while_one_is_in_flight),
        CASE(batch_is_bounded_in_documents),
        CASE(batch_is_bounded_in_bytes),
        CASE(document_larger_than_the_bound_goes_alone),
        CASE(bound_above_the_largest_batch_is_reduced),
        CASE(inserts_are_unordered_and_as_durable_as_their_collection),
        CASE(failing_batch_is_halved_until_the_invalid_document_is_alone),
        CASE(batch_of_any_size_is_halved_for_every_invalid_document),
        CASE(outage_during_the_halving_is_not_a_refusal),
        CASE(document_refused_individually_needs_no_second_round_trip),
        CASE(document_with_a_temporary_failure_is_retried_alone),
        CASE(documents_are_retried_after_an_outage_before_later_ones),
        CASE(items_queue_after_a_returned_item),
        CASE(retry_after_a_failure_waits),
        CASE(try_without_a_client_is_retried),
        CASE(expired_item_is_unknown),
        CASE(each_item_of_a_batch_has_its_own_time),
        CASE(queued_item_expires_in_time_during_an_outage),
        CASE(queue_is_consistent_after_its_last_item_expired),
        CASE(repeated_insert_recognises_its_own_document),
        CASE(repeated_insert_with_an_object_id_recognises_its_document),
        CASE(fails_fast_while_the_database_is_unavailable),
        CASE(closed_fence_completes_items_as_unknown),
        CASE(insert_in_flight_when_the_fence_closed_is_done),
        CASE(duplicate_is_reported_without_the_excluded_fields),
        CASE(duplicate_within_a_batch_gets_the_first_document),
        CASE(duplicate_is_not_read_unless_configured),
        CASE(duplicate_not_yet_at_a_majority_is_retried),
        CASE(unreadable_duplicate_is_retried),
        CASE(completed_item_may_submit_another),
        CASE(closing_completes_all_submitted_items),
        CASE(closing_waits_for_a_temporary_outage),
        CASE(closing_during_an_outage_waits_at_most_for_the_items_time),
        CASE(closing_null_is_allowed),
        CASE(concurrent_inserts_are_each_done_once_although_some_fail),
        CASE(concurrent_inserts_of_one_id_are_done_once),
    };
    return cmocka_run_group_tests_name("group_commit", tests, NULL, NULL);
}
