#include "common/db/group_commit.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>

#include "tests/unit/fake_collection.h"

enum { MOST_NOTES = 4096, TRY_MS = 15000, SHORT_MS = 250, PAUSE_MS = 100, FOREIGN = 99 };

/* An item, and what became of it. Guarded by the fake's mutex once submitted. */
struct note {
    struct commit_item item;
    size_t calls;
    enum commit_outcome outcome;
    int64_t settled_ms;
    bool has_existing, existing_has_text;
    int64_t existing_nonce;
    struct note *following; /* submitted when this one is settled */
};

struct fixture {
    struct group_commit_settings settings;
    struct group_commit *commits;
    struct note notes[MOST_NOTES];
    size_t count, settled;
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
    return borrowed; /* all must have been given back */
}

static void open_commits(struct fixture *fixture)
{
    struct bw_error error;
    assert_int_equal(group_commit_open(NULL, &fixture->settings, &fixture->commits, &error), BW_OK);
}

static void note_settled(struct commit_item *item, enum commit_outcome outcome,
                         const bson_t *existing)
{
    struct note *note = (struct note *)item;
    pthread_mutex_lock(&fake.mutex);
    note->calls++;
    note->outcome = outcome;
    note->settled_ms = clock_boot_ms();
    if (existing != NULL) {
        note->has_existing = true;
        note->existing_has_text = bson_has_field(existing, "text");
        note->existing_nonce = document_integer(existing, DOCUMENT_NONCE, 0);
    }
    fixture_now->settled++;
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
    note->item.settled = note_settled;
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

/* Submits an item of which the insert is under way, and held, when this returns. */
static void submit_held(struct fixture *fixture, const char *id)
{
    fake_hold(true);
    submit(fixture, id);
    assert_true(fake_wait_inserts(1));
}

/* Something else stands under this id. */
static void store_foreign(const char *id)
{
    bson_t *document = document_new(id, FOREIGN);
    BSON_APPEND_UTF8(document, "text", "a long one");
    fake_store(document);
    bson_destroy(document);
}

static void wait_settled(struct fixture *fixture)
{
    pthread_mutex_lock(&fake.mutex);
    bool are_all = fake_wait(&fixture->settled, fixture->count);
    pthread_mutex_unlock(&fake.mutex);
    assert_true(are_all);
}

/* Everything is settled, each once, all with the same outcome but `other`, which may be NULL. */
static void assert_settled(struct fixture *fixture, enum commit_outcome outcome,
                           const struct note *other)
{
    wait_settled(fixture);
    for (size_t i = 0; i < fixture->count; i++) {
        const struct note *note = &fixture->notes[i];
        assert_int_equal(note->calls, 1);
        if (note != other)
            assert_int_equal(note->outcome, outcome);
    }
}

/* The inserts so far were of these documents, as in "x, a b c, d". */
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
    assert_settled(fixture, COMMIT_DONE, NULL);
    submit(fixture, "b");
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("a, b");
}

static void inserts_join_while_a_batch_is_under_way_and_leave_when_it_returns(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    assert_int_equal(fake_insert_count(), 1);
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, NULL);
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
    assert_settled(fixture, COMMIT_DONE, NULL);
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
    assert_settled(fixture, COMMIT_DONE, NULL);
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
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b, large, c d");
}

static void bound_beyond_what_a_batch_can_hold_is_cut(void **state)
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
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_int_equal(fake_insert_count(), 3);
    assert_int_equal(fake_insert_at(1).count, 1024);
    assert_int_equal(fake_insert_at(2).count, 476);
}

static void inserts_are_unordered_and_as_durable_as_their_collection(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit(fixture, "a");
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_true(fake_insert_at(0).is_unordered); /* one that fails holds up no other */
    assert_int_equal(fake_insert_at(0).w, -1);   /* the collection's own: majority and journal */
}

static void signals_are_acknowledged_by_memory_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.is_ephemeral = true;
    open_commits(fixture);
    submit(fixture, "a");
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_int_equal(fake_insert_at(0).w, 1);
}

static void failing_batch_is_halved_until_the_culprit_is_alone(void **state)
{
    struct fixture *fixture = *state;
    fake.poison[0] = "f";
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *culprit = submit_each(fixture, "abcdefgh") + 5;
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, culprit);
    assert_int_equal(culprit->outcome, COMMIT_REFUSED);
    assert_inserts("x, a b c d e f g h, a b c d, e f g h, e f, e, f, g h");
    assert_int_equal(HASH_COUNT(fake.stored), 8);
}

static void batch_of_any_size_is_halved_for_every_culprit(void **state)
{
    struct fixture *fixture = *state;
    fake.poison[0] = "a";
    fake.poison[1] = "g";
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *first = submit_each(fixture, "abcdefg");
    fake_hold(false);
    wait_settled(fixture);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(first[i].outcome, i == 0 || i == 6 ? COMMIT_REFUSED : COMMIT_DONE);
    assert_inserts("x, a b c d e f g, a b c, a, b c, d e f g, d e, f g, f, g");
    assert_int_equal(HASH_COUNT(fake.stored), 6);
}

static void outage_amid_the_halving_is_no_refusal(void **state)
{
    struct fixture *fixture = *state;
    fake.poison[0] = "d";
    fake.outage_from = 3; /* x, a b c d, a b, c d */
    fake.outage_end = 4;
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *culprit = submit_each(fixture, "abcd") + 3;
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, culprit);
    assert_int_equal(culprit->outcome, COMMIT_REFUSED);
    assert_inserts("x, a b c d, a b, c d, c d, c, d");
}

static void document_that_is_refused_by_itself_costs_no_second_round_trip(void **state)
{
    struct fixture *fixture = *state;
    fake.refused = "b";
    fake.refusal = FAKE_FOR_GOOD;
    fake.refusals = 1;
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *refused = submit_each(fixture, "abc") + 1;
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, refused);
    assert_int_equal(refused->outcome, COMMIT_REFUSED);
    assert_inserts("x, a b c");
}

static void document_with_a_passing_failure_alone_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    fake.refused = "b";
    fake.refusal = FAKE_PASSING;
    fake.refusals = 2;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b c, b, b");
}

static void same_documents_are_tried_again_after_an_outage_before_later_ones(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 2;
    fake.outage_from = 1;
    fake.outage_end = 3;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "abcd");
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b, a b, a b, c d");
}

/* Waits until as many batches have come back, and what is left of them is in the queue again. */
static void wait_returned(struct fixture *fixture, uint64_t wanted)
{
    uint64_t batches = 0, documents;
    int64_t until_ms = clock_boot_ms() + FAKE_WAIT_MS;
    while (batches < wanted && clock_boot_ms() < until_ms) {
        sched_yield();
        group_commit_totals(fixture->commits, &batches, &documents);
    }
    assert_true(batches >= wanted);
}

static void item_that_went_back_into_an_empty_queue_is_followed_by_others(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = 1;
    open_commits(fixture);
    submit(fixture, "a");
    wait_returned(fixture, 1);
    submit(fixture, "b");
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_int_equal(HASH_COUNT(fake.stored), 2);
}

static void try_after_a_failure_waits_for_a_moment(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = 1;
    open_commits(fixture);
    submit(fixture, "a");
    wait_returned(fixture, 1);
    submit_each(fixture, "bc"); /* these do not cut it short */
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_true(fake_insert_at(1).came_ms - fake_insert_at(0).came_ms >= PAUSE_MS - 1);
}

static void try_without_a_client_is_repeated(void **state)
{
    struct fixture *fixture = *state;
    fake.clientless = 2;
    open_commits(fixture);
    submit(fixture, "a");
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("a");
}

static void nobody_knows_when_the_time_is_up(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = SIZE_MAX;
    open_commits(fixture);
    struct note *note = submit_for(fixture, "a", 4 * SHORT_MS);
    assert_settled(fixture, COMMIT_UNKNOWN, NULL);
    assert_true(note->settled_ms >= note->item.expires_ms);
    assert_true(fake_insert_count() > 1);
}

static void each_item_of_a_batch_has_its_own_time(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit_held(fixture, "x");
    fake.outage_from = 1; /* until the first has given up */
    fake.outage_end = SIZE_MAX;
    struct note *hurried = submit_for(fixture, "a", SHORT_MS);
    submit(fixture, "b");
    fake_hold(false);
    pthread_mutex_lock(&fake.mutex);
    assert_true(fake_wait(&fixture->settled, 2));
    assert_int_equal(hurried->calls, 1);
    fake.outage_end = 0;
    pthread_mutex_unlock(&fake.mutex);
    assert_settled(fixture, COMMIT_DONE, hurried);
    assert_int_equal(hurried->outcome, COMMIT_UNKNOWN);
}

static void item_that_waits_behind_an_outage_hears_in_time(void **state)
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
    assert_true(fake_wait(&fixture->settled, 1));
    assert_int_equal(waiting->calls, 1);
    fake.outage_end = 0;
    pthread_mutex_unlock(&fake.mutex);
    assert_settled(fixture, COMMIT_DONE, waiting);
    assert_int_equal(waiting->outcome, COMMIT_UNKNOWN);
    assert_true(waiting->settled_ms >= waiting->item.expires_ms);
    for (size_t i = 0; i < fake_insert_count(); i++)
        assert_string_not_equal(fake_insert_at(i).ids, "b");
}

static void queue_is_whole_after_its_last_item_gave_up(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1;
    fake.outage_end = 1;
    open_commits(fixture);
    submit_held(fixture, "a");
    submit(fixture, "b");
    struct note *following = note_new(fixture, "d", TRY_MS), *hurried = note_new(fixture, "c", 0);
    hurried->following = following; /* it comes while the others wait for the next try */
    group_commit_submit(fixture->commits, &hurried->item);
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, hurried);
    assert_int_equal(hurried->outcome, COMMIT_UNKNOWN);
    assert_inserts("a, a, b, d");
}

static void insert_that_did_not_last_finds_itself_and_has_succeeded(void **state)
{
    struct fixture *fixture = *state;
    fake.lost_every = 2;
    open_commits(fixture);
    submit_held(fixture, "x");
    submit_each(fixture, "ab");
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("x, a b, a b");
    assert_int_equal(fake.finds, 1);
}

static void object_id_finds_itself_like_any_other(void **state)
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
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_int_equal(fake_insert_count(), 3);
}

static void failing_fast_it_keeps_nothing_while_the_database_is_away(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.fails_fast = true;
    fake.is_away = true;
    fake.clientless = SIZE_MAX;
    open_commits(fixture);
    int64_t begun_ms = clock_boot_ms();
    submit_each(fixture, "abc");
    assert_settled(fixture, COMMIT_UNKNOWN, NULL);
    assert_true(clock_boot_ms() - begun_ms < TRY_MS / 2);
    assert_inserts("");
}

static bool is_open(void *context)
{
    return atomic_load((atomic_bool *)context);
}

static void fence_that_closes_ends_all_trying_as_unknown(void **state)
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
    assert_settled(fixture, COMMIT_UNKNOWN, NULL);
    assert_inserts("x"); /* what was under way; nothing after it */
}

static void insert_that_was_under_way_when_the_fence_closed_is_done(void **state)
{
    struct fixture *fixture = *state;
    atomic_bool open = true;
    fixture->settings.fence = (struct fence){is_open, &open};
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *late = submit(fixture, "a");
    atomic_store(&open, false);
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, late);
    assert_int_equal(late->outcome, COMMIT_UNKNOWN);
}

static void what_stands_under_the_id_is_shown_without_its_excluded_fields(void **state)
{
    struct fixture *fixture = *state;
    store_foreign("b");
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *second = submit_each(fixture, "abc") + 1;
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, second);
    assert_int_equal(second->outcome, COMMIT_DUPLICATE);
    assert_true(second->has_existing);
    assert_int_equal(second->existing_nonce, FOREIGN);
    assert_false(second->existing_has_text);
    assert_inserts("x, a b c");
}

static void second_of_a_batch_under_one_id_is_shown_the_first(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    submit_held(fixture, "x");
    struct note *second = submit_each(fixture, "aa") + 1;
    fake_hold(false);
    assert_settled(fixture, COMMIT_DONE, second);
    assert_int_equal(second->outcome, COMMIT_DUPLICATE);
    assert_int_equal(second->existing_nonce, 2); /* x was the first note */
    assert_false(second[-1].has_existing);
}

static void duplicate_is_not_read_where_nobody_asks(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.fetches_duplicates = false;
    store_foreign("a");
    open_commits(fixture);
    struct note *note = submit(fixture, "a");
    assert_settled(fixture, COMMIT_DUPLICATE, NULL);
    assert_false(note->has_existing);
    assert_int_equal(fake.finds, 0);
}

static void duplicate_that_a_majority_does_not_see_yet_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    fake.late_finds = 2;
    store_foreign("a");
    open_commits(fixture);
    struct note *note = submit(fixture, "a");
    assert_settled(fixture, COMMIT_DUPLICATE, NULL);
    assert_true(note->has_existing);
    assert_inserts("a, a, a");
}

static void duplicate_that_can_not_be_read_is_tried_again(void **state)
{
    struct fixture *fixture = *state;
    fake.failing_finds = 1;
    store_foreign("a");
    open_commits(fixture);
    struct note *note = submit(fixture, "a");
    assert_settled(fixture, COMMIT_DUPLICATE, NULL);
    assert_int_equal(note->existing_nonce, FOREIGN);
    assert_inserts("a, a");
}

static void depth_counts_what_waits_and_what_is_under_way(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    assert_int_equal(group_commit_depth(fixture->commits), 0);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    assert_int_equal(group_commit_depth(fixture->commits), 4);
    fake_hold(false);
    wait_settled(fixture);
    fake_hold(true);
    submit(fixture, "y");
    assert_true(fake_wait_inserts(3)); /* the batch before it is counted out */
    assert_int_equal(group_commit_depth(fixture->commits), 1);
}

static void depth_does_not_count_who_gave_up_waiting(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1;
    fake.outage_end = 1;
    open_commits(fixture);
    submit_held(fixture, "a");
    submit_for(fixture, "b", 0);
    fake_hold(false);
    wait_settled(fixture);
    fake_hold(true);
    submit(fixture, "y");
    assert_true(fake_wait_inserts(3));
    assert_int_equal(group_commit_depth(fixture->commits), 1);
    assert_inserts("a, a, y");
}

static void totals_count_batches_and_documents(void **state)
{
    struct fixture *fixture = *state;
    uint64_t batches, documents;
    open_commits(fixture);
    group_commit_totals(fixture->commits, &batches, &documents);
    assert_int_equal(batches + documents, 0);
    submit_held(fixture, "x");
    submit_each(fixture, "abc");
    fake_hold(false);
    wait_settled(fixture);
    fake_hold(true);
    submit(fixture, "y");
    assert_true(fake_wait_inserts(3)); /* and is not counted yet */
    group_commit_totals(fixture->commits, &batches, &documents);
    assert_int_equal(batches, 2);
    assert_int_equal(documents, 4);
}

static void settled_item_may_submit_another(void **state)
{
    struct fixture *fixture = *state;
    open_commits(fixture);
    struct note *second = note_new(fixture, "b", TRY_MS), *first = note_new(fixture, "a", TRY_MS);
    first->following = second;
    group_commit_submit(fixture->commits, &first->item);
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_inserts("a, b");
}

static void closing_settles_all_that_was_submitted(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.max_documents = 1;
    open_commits(fixture);
    submit_each(fixture, "abcdefghijklmnopqrstuvwxyz");
    close_commits(fixture);
    assert_int_equal(fixture->settled, 26);
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_int_equal(HASH_COUNT(fake.stored), 26);
}

static void closing_outlives_an_outage_that_passes(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = 2;
    open_commits(fixture);
    submit_each(fixture, "abc");
    close_commits(fixture);
    assert_int_equal(fixture->settled, 3);
    assert_settled(fixture, COMMIT_DONE, NULL);
}

static void closing_in_an_outage_waits_no_longer_than_the_items(void **state)
{
    struct fixture *fixture = *state;
    fake.outage_end = SIZE_MAX;
    open_commits(fixture);
    int64_t begun_ms = clock_boot_ms();
    submit_for(fixture, "a", SHORT_MS);
    submit_for(fixture, "b", SHORT_MS);
    close_commits(fixture);
    assert_int_equal(fixture->settled, 2);
    assert_settled(fixture, COMMIT_UNKNOWN, NULL);
    assert_true(clock_boot_ms() - begun_ms < TRY_MS);
}

static void nothing_can_be_closed(void **state)
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

/* Submits notes that were made before, `EACH` from each thread. */
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

static void every_insert_of_a_crowd_is_done_once_though_some_fail(void **state)
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
    assert_settled(fixture, COMMIT_DONE, NULL);
    assert_int_equal(HASH_COUNT(fake.stored), THREADS * EACH);
    for (size_t i = 0; i < fake.count; i++)
        assert_in_range(fake_insert_at(i).count, 1, BOUND);
}

static void of_a_crowd_under_one_id_exactly_one_is_done(void **state)
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
    wait_settled(fixture);
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
        CASE(inserts_join_while_a_batch_is_under_way_and_leave_when_it_returns),
        CASE(batch_is_bounded_in_documents),
        CASE(batch_is_bounded_in_bytes),
        CASE(document_larger_than_the_bound_goes_alone),
        CASE(bound_beyond_what_a_batch_can_hold_is_cut),
        CASE(inserts_are_unordered_and_as_durable_as_their_collection),
        CASE(signals_are_acknowledged_by_memory_alone),
        CASE(failing_batch_is_halved_until_the_culprit_is_alone),
        CASE(batch_of_any_size_is_halved_for_every_culprit),
        CASE(outage_amid_the_halving_is_no_refusal),
        CASE(document_that_is_refused_by_itself_costs_no_second_round_trip),
        CASE(document_with_a_passing_failure_alone_is_tried_again),
        CASE(same_documents_are_tried_again_after_an_outage_before_later_ones),
        CASE(item_that_went_back_into_an_empty_queue_is_followed_by_others),
        CASE(try_after_a_failure_waits_for_a_moment),
        CASE(try_without_a_client_is_repeated),
        CASE(nobody_knows_when_the_time_is_up),
        CASE(each_item_of_a_batch_has_its_own_time),
        CASE(item_that_waits_behind_an_outage_hears_in_time),
        CASE(queue_is_whole_after_its_last_item_gave_up),
        CASE(insert_that_did_not_last_finds_itself_and_has_succeeded),
        CASE(object_id_finds_itself_like_any_other),
        CASE(failing_fast_it_keeps_nothing_while_the_database_is_away),
        CASE(fence_that_closes_ends_all_trying_as_unknown),
        CASE(insert_that_was_under_way_when_the_fence_closed_is_done),
        CASE(what_stands_under_the_id_is_shown_without_its_excluded_fields),
        CASE(second_of_a_batch_under_one_id_is_shown_the_first),
        CASE(duplicate_is_not_read_where_nobody_asks),
        CASE(duplicate_that_a_majority_does_not_see_yet_is_tried_again),
        CASE(duplicate_that_can_not_be_read_is_tried_again),
        CASE(depth_counts_what_waits_and_what_is_under_way),
        CASE(depth_does_not_count_who_gave_up_waiting),
        CASE(totals_count_batches_and_documents),
        CASE(settled_item_may_submit_another),
        CASE(closing_settles_all_that_was_submitted),
        CASE(closing_outlives_an_outage_that_passes),
        CASE(closing_in_an_outage_waits_no_longer_than_the_items),
        CASE(nothing_can_be_closed),
        CASE(every_insert_of_a_crowd_is_done_once_though_some_fail),
        CASE(of_a_crowd_under_one_id_exactly_one_is_done),
    };
    return cmocka_run_group_tests_name("group_commit", tests, NULL, NULL);
}
