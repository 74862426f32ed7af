#include "api/grading/audit_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/audit.h"
#include "api/http/exchange.h"
#include "common/base/date.h"
#include "common/domain/file_entry.h"
#include "common/store/audit_store.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    SCAN_MAX = 5000, /* entries that are looked at for one page */
    SHOWN_SIZE = 80,
    NAME_MAX_LENGTH = WORKER_ID_SIZE - 1,
    CLOCK_SLACK_MS = 24 * 3600 * 1000, /* replicas' samples of the database's date differ */
    WINDOW_FIRST_MS = 3600 * 1000,
    WINDOW_FACTOR = 4
};

/* ---- The arguments ---- */

static enum bw_code audit_list_check_id(const json_t *value, const char *path, const void *context,
                                        struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    (void)context;
    if (is_hex_id(json_string_value(value), RUN_ID_LENGTH))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not an id: 24 lower-case hex digits", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

static enum bw_code audit_list_check_action(const json_t *value, const char *path,
                                            const void *context, struct bw_error *error)
{
    (void)context;
    return audit_action_check(json_string_value(value), path, error);
}

/* The order of the names is that of audit_list_fields from the second row on. */
#define AUDIT_LIST_FIELDS                                                                      \
    {.name = "run", .kind = FIELD_STRING, .check = audit_list_check_id},                       \
        {.name = "actor", .kind = FIELD_STRING, .minimum = 1, .maximum = TOKEN_NAME_SIZE - 1}, \
        {.name = "action", .kind = FIELD_STRING, .check = audit_list_check_action},            \
        {.name = "since", .kind = FIELD_STRING, .check = json_check_date},                     \
        {.name = "until", .kind = FIELD_STRING, .check = json_check_date},                     \
        {.name = "after", .kind = FIELD_STRING, .check = audit_list_check_id},                 \
        {.name = "limit", .kind = FIELD_INTEGER, .minimum = 1, .maximum = LIMIT_MAX},          \
    {                                                                                          \
        .name = NULL                                                                           \
    }

const struct json_field audit_list_fields[] = {
    {.name = "course", .kind = FIELD_STRING, .minimum = 1, .maximum = NAME_MAX_LENGTH},
    AUDIT_LIST_FIELDS,
};

const struct json_field audit_list_course_fields[] = {AUDIT_LIST_FIELDS};

/* ---- One page ---- */

struct audit_page {
    const char *course, *run, *actor, *action; /* NULL: any; borrowed from the arguments */
    int64_t since_ms, until_ms;
    size_t limit;
    const char *after;        /* the page has entries with smaller ids; NULL: any */
    char last[AUDIT_ID_SIZE]; /* the entry that was looked at last */
    json_t *entries;
    size_t scanned; /* entries that were looked at */
    bool is_full;   /* an entry was found that is not of this page */
};

static const char *text_argument(const json_t *arguments, const char *name)
{
    return json_string_value(json_object_get(arguments, name));
}

static void audit_page_begin(struct audit_page *page, const json_t *arguments, const char *course,
                             int64_t now_ms)
{
    const json_t *limit = json_object_get(arguments, "limit");
    *page = (struct audit_page){
        .course = course != NULL ? course : text_argument(arguments, "course"),
        .run = text_argument(arguments, "run"),
        .actor = text_argument(arguments, "actor"),
        .action = text_argument(arguments, "action"),
        .since_ms = json_date(arguments, "since", 0),
        .until_ms = json_date(arguments, "until", now_ms + CLOCK_SLACK_MS),
        .limit = limit != NULL ? (size_t)json_integer_value(limit) : LIMIT_DEFAULT,
        .after = text_argument(arguments, "after"),
        .entries = json_array()};
    if (page->after != NULL && audit_id_date(page->after) < page->until_ms)
        page->until_ms = audit_id_date(page->after) + 1;
}

/* For the format "s*", which leaves a key out. */
static const char *text_or_none(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static json_t *audit_entry_json(const struct audit_entry *entry)
{
    char date[DATE_TEXT_SIZE], digest[FILE_DIGEST_SIZE] = "";
    if (entry->file[0] != '\0')
        file_digest_format(entry->file, digest);
    json_t *actor = json_pack("{s:s,s:s*,s:s*}", "kind", entry->actor_kind, "name",
                              text_or_none(entry->actor_name), "token",
                              text_or_none(entry->fingerprint));
    return json_pack("{s:s,s:s,s:s,s:o,s:s,s:s,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*}", "id",
                     entry->id, "date", date_format(entry->at_ms, date), "action", entry->action,
                     "actor", actor, "address", entry->address, "request_id", entry->request_id,
                     "course", text_or_none(entry->course), "assignment",
                     text_or_none(entry->assignment), "run", text_or_none(entry->run), "rerun_of",
                     text_or_none(entry->rerun_of), "job", text_or_none(entry->job), "worker",
                     text_or_none(entry->worker), "file", text_or_none(digest), "webhook",
                     text_or_none(entry->webhook), "reservation", text_or_none(entry->reservation));
}

/* Whether the entry is of the page, as far as no index has answered that. */
static bool audit_page_admits(const struct audit_page *page, const struct audit_entry *entry)
{
    bool is_actor = page->actor == NULL || strcmp(page->actor, entry->actor_name) == 0 ||
                    strcmp(page->actor, entry->fingerprint) == 0;
    bool is_action = page->action == NULL || strcmp(page->action, entry->action) == 0;
    return is_actor && is_action;
}

static bool audit_page_take(const struct audit_entry *entry, void *context)
{
    struct audit_page *page = context;
    bool is_admitted = audit_page_admits(page, entry);
    if (page->scanned == SCAN_MAX ||
        (is_admitted && json_array_size(page->entries) == page->limit)) {
        page->is_full = true;
        return false;
    }
    page->scanned++;
    memcpy(page->last, entry->id, sizeof page->last);
    if (is_admitted)
        json_array_append_new(page->entries, audit_entry_json(entry));
    return true;
}

/* Reads windows of time that become longer, since a database may sort all that is in a window. The
 * entries of a run are few. */
static enum bw_code audit_page_read(struct api *api, struct audit_page *page,
                                    struct bw_error *error)
{
    int64_t window_ms = page->run != NULL ? page->until_ms : WINDOW_FIRST_MS,
            until_ms = page->until_ms;
    enum bw_code code = BW_OK;
    while (code == BW_OK && !page->is_full && until_ms > page->since_ms) {
        int64_t since_ms = until_ms - window_ms > page->since_ms ? until_ms - window_ms
                                                                 : page->since_ms;
        const struct audit_range range = {.course = page->course,
                                          .run = page->run,
                                          .before = page->after,
                                          .since_ms = since_ms,
                                          .until_ms = until_ms};
        code = audit_store_read(api->audit_store, &range, audit_page_take, page, error);
        until_ms = since_ms;
        window_ms *= WINDOW_FACTOR;
    }
    return code;
}

enum bw_code audit_list_read(struct api *api, struct exchange *exchange, const char *course,
                             json_t **list, struct bw_error *error)
{
    struct audit_page page;
    audit_page_begin(&page, exchange_request(exchange)->arguments, course,
                     audit_store_now_ms(api->audit_store));
    enum bw_code code = audit_page_read(api, &page, error);
    if (code != BW_OK) {
        json_decref(page.entries);
        return code;
    }
    *list = json_pack("{s:o,s:s*}", "entries", page.entries, "next",
                      page.is_full ? page.last : NULL);
    return BW_OK;
}
