#include "api/auth/course_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth/course_config.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/ticker.h"

enum { LOOK_MS = 500 };

struct course_table {
    struct course_store *store;
    struct known_tokens *known;
    struct token_hash nobody; /* compared where there is no course */
    atomic_bool is_settled;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows */
    struct course_list courses;
};

/* Reads what is stored, now. */
static enum bw_code load(struct course_table *table, struct bw_error *error)
{
    struct course_list read;
    enum bw_code code = course_store_read(table->store, &read, error);
    if (code != BW_OK)
        return code;
    pthread_mutex_lock(&table->mutex);
    struct course_list former = table->courses;
    table->courses = read;
    pthread_mutex_unlock(&table->mutex);
    if (former.version != read.version)
        log_info("courses read", log_number("courses", (int64_t)read.count));
    course_list_clear(&former);
    return BW_OK;
}

enum bw_code course_table_settle(struct course_table *table, const struct course_list *list,
                                 struct bw_error *error)
{
    enum bw_code code = BW_OK;
    if (list != NULL)
        code = course_store_replace(table->store, list, error);
    if (code == BW_OK)
        code = load(table, error);
    if (code == BW_OK)
        atomic_store(&table->is_settled, true);
    return code;
}

void course_table_reread(struct course_table *table, const char *path)
{
    struct bw_error error;
    struct course_list list;
    if (path == NULL) {
        log_event(LOG_LEVEL_WARNING, "there is no --course-config to read again");
        return;
    }
    enum bw_code code = course_config_read(path, table->known, &list, &error);
    if (code == BW_OK) {
        code = course_table_settle(table, &list, &error);
        course_list_clear(&list);
    }
    if (code != BW_OK)
        log_error("the courses stay as they were", log_text("reason", error.message));
}

/* Reads the courses if others are stored than those that are known. */
static void course_table_look(struct course_table *table)
{
    struct bw_error unused; /* whether the database is reachable is life's to say */
    int64_t version;
    if (course_store_version(table->store, &version, &unused) != BW_OK)
        return;
    pthread_mutex_lock(&table->mutex);
    bool is_known = version == table->courses.version;
    pthread_mutex_unlock(&table->mutex);
    if (!is_known && load(table, &unused) != BW_OK)
        return;
}

static int64_t course_table_tick(void *context)
{
    course_table_look(context);
    return LOOK_MS;
}

enum bw_code course_table_open(struct course_store *store, struct known_tokens *known,
                               struct course_table **table, struct bw_error *error)
{
    struct course_table *opened = bw_alloc(sizeof *opened);
    opened->store = store;
    opened->known = known;
    token_hash_make("", &opened->nobody);
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = ticker_open("the courses", LOOK_MS, course_table_tick, opened,
                                    &opened->ticker, error);
    if (code != BW_OK) {
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return code;
    }
    *table = opened;
    return BW_OK;
}

void course_table_close(struct course_table *table)
{
    if (table == NULL)
        return;
    ticker_close(table->ticker);
    course_list_clear(&table->courses);
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

/* Compares with all of them: which one it was does not show in the time. */
static bool holds(const struct token_list *tokens, const char *token)
{
    bool is_held = false;
    for (size_t i = 0; i < tokens->count; i++)
        is_held = token_hash_matches(&tokens->items[i], token) || is_held;
    return is_held;
}

static enum course_standing course_table_judge_entry(const struct course_table *table,
                                                     const struct course_entry *course,
                                                     const char *token)
{
    if (course == NULL) {
        (void)token_hash_matches(&table->nobody, token);
        return COURSE_UNKNOWN;
    }
    bool is_admin = holds(&course->tokens, token), is_member = holds(&course->query_tokens, token);
    if (is_admin)
        return COURSE_ADMIN;
    return is_member ? COURSE_MEMBER : COURSE_STRANGER;
}

enum course_standing course_table_judge(struct course_table *table, const char *course,
                                        const char *token)
{
    const struct course_entry *found = NULL;
    if (!atomic_load(&table->is_settled))
        return COURSE_UNSETTLED;
    pthread_mutex_lock(&table->mutex);
    for (size_t i = 0; i < table->courses.count; i++)
        if (strcmp(table->courses.items[i].name, course) == 0)
            found = &table->courses.items[i];
    enum course_standing standing = course_table_judge_entry(table, found, token);
    pthread_mutex_unlock(&table->mutex);
    return standing;
}
