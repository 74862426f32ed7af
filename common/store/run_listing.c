#include "common/store/run_listing.h"

#include <stdlib.h>
#include <string.h>

#include "common/db/document.h"
#include "common/domain/run_terms.h"

#define COLLECTION "grading_runs"

enum {
    WINDOW_FIRST_MS = 60 * 1000,
    WINDOW_FACTOR = 4,
    SCAN_MAX = 5000, /* runs that are looked at in one reading */
    TERMS_MAX = 3
};

/* ---- What is looked up, and what is compared ---- */

struct run_lookup {
    char *terms[TERMS_MAX]; /* own; the first one is looked up, unless the state is */
    unsigned count;
    bool is_by_state;
};

/* A name or a label is rarer than a state, and a state but the usual one than an assignment. */
static void run_lookup_make(const struct run_listing *listing, struct run_lookup *lookup)
{
    const char *course = listing->course;
    *lookup = (struct run_lookup){.count = 0};
    if (listing->name != NULL)
        lookup->terms[lookup->count++] = run_name_term(course, listing->name);
    if (listing->label != NULL)
        lookup->terms[lookup->count++] = run_label_term(course, listing->label);
    lookup->is_by_state = listing->state != NULL && lookup->count == 0 &&
                          (listing->assignment == NULL || *listing->state != RUN_FINISHED);
    if (listing->assignment != NULL)
        lookup->terms[lookup->count++] = run_assignment_term(course, listing->assignment);
    if (lookup->count == 0)
        lookup->terms[lookup->count++] = run_scope_term(course);
}

static void run_lookup_clear(struct run_lookup *lookup)
{
    for (unsigned i = 0; i < lookup->count; i++)
        free(lookup->terms[i]);
}

static bool has_term(const bson_t *document, const char *term)
{
    bson_iter_t list, item;
    if (!bson_iter_init_find(&list, document, "terms") || !BSON_ITER_HOLDS_ARRAY(&list) ||
        !bson_iter_recurse(&list, &item))
        return false;
    while (bson_iter_next(&item))
        if (BSON_ITER_HOLDS_UTF8(&item) && strcmp(bson_iter_utf8(&item, NULL), term) == 0)
            return true;
    return false;
}

/* Whether the run is behind the place where the reading begins. Runs of one date are in the order
 * of their ids. */
static bool is_behind(const struct run_listing *listing, const struct run *run)
{
    return listing->before == NULL || run->created_ms < listing->before_ms ||
           strcmp(run->id, listing->before) < 0;
}

static bool run_lookup_wants(const struct run_lookup *lookup, const struct run_listing *listing,
                             const bson_t *document, const struct run *run)
{
    for (unsigned i = 0; i < lookup->count; i++)
        if (!has_term(document, lookup->terms[i]))
            return false;
    return document_date(document, "removed_at") == 0 &&
           (listing->state == NULL || *listing->state == run->phase);
}

/* ---- Reading ---- */

/* A part of the time, from `since_ms` to before `until_ms`. */
struct run_window {
    int64_t since_ms, until_ms;
};

struct run_reading {
    const struct run_listing *listing;
    struct run_lookup lookup;
    struct run_listing_end *end;
    size_t scanned;
    bool is_over; /* no more runs are wanted */
};

/* Only what an index has: with any other condition the embedded database looks at everything. */
static void append_filter(bson_t *filter, const struct run_reading *reading,
                          const struct run_window *window)
{
    bson_t condition;
    if (reading->lookup.is_by_state) {
        char *scope = run_scope_term(reading->listing->course);
        BSON_APPEND_UTF8(filter, "scope", scope);
        BSON_APPEND_UTF8(filter, "state", run_phase_name(*reading->listing->state));
        free(scope);
    } else {
        BSON_APPEND_UTF8(filter, "terms", reading->lookup.terms[0]);
    }
    BSON_APPEND_DOCUMENT_BEGIN(filter, "created_at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$gte", window->since_ms);
    BSON_APPEND_DATE_TIME(&condition, "$lt", window->until_ms);
    bson_append_document_end(filter, &condition);
}

static void run_reading_report(struct run_reading *reading, const bson_t *document, struct run *run)
{
    struct long_text labels = {NULL, 0};
    document_long_text(document, "labels", &labels);
    run->labels = labels.text;
    reading->is_over = !reading->listing->each(run, reading->listing->context);
}

static bool run_reading_take(const bson_t *document, void *context)
{
    struct run_reading *reading = context;
    struct run run;
    if (!run_from_document(document, &run))
        return true;
    if (is_behind(reading->listing, &run)) {
        if (run_lookup_wants(&reading->lookup, reading->listing, document, &run))
            run_reading_report(reading, document, &run);
        reading->end->created_ms = run.created_ms;
        memcpy(reading->end->id, run.id, sizeof run.id);
        reading->end->is_cut = !reading->is_over && ++reading->scanned == SCAN_MAX;
        reading->is_over = reading->is_over || reading->end->is_cut;
    }
    run_clear(&run);
    return !reading->is_over;
}

static enum bw_code run_reading_continue(struct database *database, const struct run_window *window,
                                         int64_t batch, struct run_reading *reading,
                                         struct bw_error *error)
{
    static const char *const unread[] = {"definition", "supersede_keys", "reruns"};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    append_filter(&filter, reading, window);
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        BSON_APPEND_INT32(&projection, unread[i], 0);
    BSON_APPEND_INT32(&sort, "created_at", -1);
    BSON_APPEND_INT32(&sort, "_id", -1);
    const struct database_page page = {
        .filter = &filter, .projection = &projection, .sort = &sort, .batch = batch};
    enum bw_code code = database_find_page(database, COLLECTION, &page, run_reading_take, reading,
                                           error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    bson_destroy(&sort);
    return code;
}

/* The embedded database sorts all that a filter matches, so windows of time that become longer are
 * read. The first one has runs of the future, too: replicas' samples of the database's date
 * differ. */
enum bw_code run_listing_read(struct database *database, const struct run_listing *listing,
                              size_t expected, struct run_listing_end *end, struct bw_error *error)
{
    struct run_reading reading = {.listing = listing, .end = end};
    int64_t from_ms = listing->before != NULL ? listing->before_ms + 1 : database_now_ms(database);
    int64_t length_ms = WINDOW_FIRST_MS;
    struct run_window window = {.until_ms = listing->before != NULL ? from_ms : LISTING_LAST_MS};
    enum bw_code code = BW_OK;
    *end = (struct run_listing_end){.is_cut = false};
    run_lookup_make(listing, &reading.lookup);
    while (code == BW_OK && !reading.is_over && window.until_ms > 0) {
        window.since_ms = from_ms > length_ms ? from_ms - length_ms : 0;
        code = run_reading_continue(database, &window, (int64_t)expected, &reading, error);
        window.until_ms = from_ms = window.since_ms;
        length_ms *= WINDOW_FACTOR;
    }
    run_lookup_clear(&reading.lookup);
    return code;
}
