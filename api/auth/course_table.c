#include "api/auth/course_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth/course_config.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/ticker.h"

enum { SCAN_MS = 500 };

/* The courses of one read, with a count of references, so that tokens are compared without the
 * mutex. The last course_set_release frees them. */
struct course_set {
    atomic_size_t references;
    struct course_list list;
};

struct course_table {
    struct course_store *store;
    struct scheduling_store *scheduling;
    struct known_tokens *known;
    struct token_hash nobody; /* compared if there is no such course */
    atomic_bool is_loaded;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows */
    struct course_set *courses;
};

static struct course_set *course_set_new(struct course_list list)
{
    struct course_set *set = bw_alloc(sizeof *set);
    atomic_init(&set->references, 1);
    set->list = list;
    return set;
}

static void course_set_release(struct course_set *set)
{
    if (atomic_fetch_sub(&set->references, 1) > 1)
        return;
    course_list_clear(&set->list);
    free(set);
}

/* The current courses. The caller must call course_set_release. */
static struct course_set *course_table_hold(struct course_table *table)
{
    pthread_mutex_lock(&table->mutex);
    struct course_set *set = table->courses;
    atomic_fetch_add(&set->references, 1);
    pthread_mutex_unlock(&table->mutex);
    return set;
}

/* Reads the stored courses, and makes them current. */
static enum bw_code course_table_load(struct course_table *table, struct bw_error *error)
{
    struct course_list read;
    enum bw_code code = course_store_read(table->store, &read, error);
    if (code != BW_OK)
        return code;
    struct course_set *set = course_set_new(read);
    pthread_mutex_lock(&table->mutex);
    struct course_set *former = table->courses;
    table->courses = set;
    pthread_mutex_unlock(&table->mutex);
    if (former->list.version != read.version)
        log_info("courses read", log_number("courses", (int64_t)read.count));
    course_set_release(former);
    return BW_OK;
}

/* Stores the shares that the file states. */
static enum bw_code course_table_store_shares(struct course_table *table,
                                              const struct course_list *list,
                                              struct bw_error *error)
{
    struct course_share *shares = bw_alloc_array(list->count, sizeof *shares);
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct course_entry *course = &list->items[i];
        if (course->weight == 0 && !course->has_max_running)
            continue;
        struct course_share *share = &shares[count++];
        memcpy(share->course, course->name, sizeof share->course);
        share->weight = course->weight;
        share->max_running = course->max_running;
        share->has_max_running = course->has_max_running;
    }
    enum bw_code code = scheduling_store_replace_file(table->scheduling, shares, count, error);
    free(shares);
    return code;
}

enum bw_code course_table_store(struct course_table *table, const struct course_list *list,
                                struct bw_error *error)
{
    enum bw_code code = BW_OK;
    if (list != NULL)
        code = course_store_replace(table->store, list, error);
    if (code == BW_OK && list != NULL)
        code = course_table_store_shares(table, list, error);
    if (code == BW_OK)
        code = course_table_load(table, error);
    if (code == BW_OK)
        atomic_store(&table->is_loaded, true);
    return code;
}

void course_table_reread(struct course_table *table, const char *path)
{
    struct bw_error error;
    struct course_list list;
    if (path == NULL) {
        log_event(LOG_LEVEL_WARNING, "SIGHUP: there is no --course-config to reload");
        return;
    }
    enum bw_code code = course_config_read(path, table->known, &list, &error);
    if (code == BW_OK) {
        code = course_table_store(table, &list, &error);
        course_list_clear(&list);
    }
    if (code != BW_OK)
        log_error("courses not reloaded", log_text("reason", error.message));
}

/* Reads the courses if the stored ones have changed. */
static void course_table_poll(struct course_table *table)
{
    struct bw_error unused; /* replica_heartbeat logs whether the database is reachable */
    int64_t version;
    if (course_store_version(table->store, &version, &unused) != BW_OK)
        return;
    pthread_mutex_lock(&table->mutex);
    bool is_known = version == table->courses->list.version;
    pthread_mutex_unlock(&table->mutex);
    if (!is_known && course_table_load(table, &unused) != BW_OK)
        return;
}

static int64_t course_table_tick(void *context)
{
    course_table_poll(context);
    return SCAN_MS;
}

enum bw_code course_table_open(struct course_store *store, struct scheduling_store *scheduling,
                               struct known_tokens *known, struct course_table **table,
                               struct bw_error *error)
{
    struct course_table *opened = bw_alloc(sizeof *opened);
    opened->store = store;
    opened->scheduling = scheduling;
    opened->known = known;
    opened->courses = course_set_new((struct course_list){.count = 0});
    token_hash_make("", &opened->nobody);
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = ticker_open("the courses", SCAN_MS, course_table_tick, opened,
                                    &opened->ticker, error);
    if (code != BW_OK) {
        course_set_release(opened->courses);
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
    course_set_release(table->courses);
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

/* The name of `token` in the list; NULL: it is not one of the list. Compares with all of them, so
 * that the time does not depend on which one matches. */
static const char *token_list_find(const struct token_list *tokens, const char *token)
{
    const char *name = NULL;
    for (size_t i = 0; i < tokens->count; i++)
        if (token_hash_matches(&tokens->items[i], token))
            name = tokens->names[i];
    return name;
}

static enum course_standing course_table_check_entry(const struct course_table *table,
                                                     const struct course_entry *course,
                                                     const char *token, char name[TOKEN_NAME_SIZE])
{
    if (course == NULL) {
        (void)token_hash_matches(&table->nobody, token);
        return COURSE_UNKNOWN;
    }
    const char *admin = token_list_find(&course->tokens, token),
               *member = token_list_find(&course->query_tokens, token);
    if (admin != NULL || member != NULL)
        snprintf(name, TOKEN_NAME_SIZE, "%s", admin != NULL ? admin : member);
    if (admin != NULL)
        return COURSE_ADMIN;
    return member != NULL ? COURSE_MEMBER : COURSE_STRANGER;
}

/* NULL: there is none. */
static const struct course_entry *course_set_find(const struct course_set *set, const char *course)
{
    for (size_t i = 0; i < set->list.count; i++)
        if (strcmp(set->list.items[i].name, course) == 0)
            return &set->list.items[i];
    return NULL;
}

enum bw_code course_table_find(struct course_table *table, const char *course, unsigned *classes,
                               struct bw_error *error)
{
    char shown[80];
    if (!atomic_load(&table->is_loaded))
        return bw_fail(error, BW_UNAVAILABLE,
                       "this server is starting: it has not read the courses yet");
    struct course_set *set = course_table_hold(table);
    const struct course_entry *found = course_set_find(set, course);
    bool is_found = found != NULL;
    if (is_found && classes != NULL)
        *classes = found->classes != 0 ? found->classes : (unsigned)RUN_CLASSES_DEFAULT;
    course_set_release(set);
    if (!is_found)
        return bw_fail(error, BW_NOT_FOUND, "there is no course '%s'",
                       text_show(course, shown, sizeof shown));
    return BW_OK;
}

void course_table_each(struct course_table *table,
                       void (*each)(const struct course_entry *entry, void *context), void *context)
{
    struct course_set *set = course_table_hold(table);
    for (size_t i = 0; i < set->list.count; i++)
        each(&set->list.items[i], context);
    course_set_release(set);
}

enum course_standing course_table_check(struct course_table *table, const char *course,
                                        const char *token, char name[TOKEN_NAME_SIZE])
{
    name[0] = '\0';
    if (!atomic_load(&table->is_loaded))
        return COURSE_NOT_LOADED;
    struct course_set *set = course_table_hold(table);
    enum course_standing standing = course_table_check_entry(table, course_set_find(set, course),
                                                             token, name);
    course_set_release(set);
    return standing;
}
