#include "common/base/failpoint.h"

#ifdef BROADWAY_FAILPOINTS

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RULES = 32, NAME_SIZE = 48, TEXT_SIZE = 2048 };

enum action { ACTION_NONE, ACTION_KILL, ACTION_STOP, ACTION_SLEEP, ACTION_ERROR };

static const struct {
    const char *word;
    enum action action;
} actions[] = {{"kill", ACTION_KILL},
               {"stop", ACTION_STOP},
               {"sleep=", ACTION_SLEEP},
               {"error", ACTION_ERROR}};

struct rule {
    char name[NAME_SIZE];
    enum action action;
    long sleep_ms;
    long at; /* 0: every time */
    long hits;
};

/* Only for tests: the one module with mutable state at file scope. */
static struct {
    pthread_mutex_t mutex; /* guards all fields below */
    bool is_read;
    ino_t file;
    struct timespec written; /* inode numbers are reused */
    struct rule rules[RULES];
    size_t count;
} set = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* NAME:ACTION[@N] */
static bool rule_parse(char *text, struct rule *rule)
{
    char *colon = strchr(text, ':'), *at = strchr(text, '@');
    memset(rule, 0, sizeof *rule);
    if (colon == NULL)
        return false;
    *colon = '\0';
    if (at != NULL) {
        *at = '\0';
        rule->at = strtol(at + 1, NULL, 10);
    }
    snprintf(rule->name, sizeof rule->name, "%s", text);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        size_t length = strlen(actions[i].word);
        if (strncmp(colon + 1, actions[i].word, length) != 0)
            continue;
        rule->action = actions[i].action;
        rule->sleep_ms = strtol(colon + 1 + length, NULL, 10);
        return true;
    }
    return false;
}

static void read_rules(char *text)
{
    char *rest = text, *part;
    set.count = 0;
    while ((part = strsep(&rest, ",\n")) != NULL) {
        if (*part == '\0' || set.count == RULES)
            continue;
        if (rule_parse(part, &set.rules[set.count])) {
            set.count++;
            continue;
        }
        fprintf(stderr, "failpoint: '%s' is not understood\n", part);
        abort();
    }
}

static void read_file(const char *path)
{
    char text[TEXT_SIZE];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    read_rules(text);
}

/* With the mutex held. A file that was replaced is another file. */
static void failpoint_read_again(void)
{
    const char *path = getenv("BROADWAY_FAILPOINT_FILE"), *given = getenv("BROADWAY_FAILPOINT");
    struct stat now;
    char text[TEXT_SIZE];
    if (!set.is_read && given != NULL) {
        snprintf(text, sizeof text, "%s", given);
        read_rules(text);
    }
    set.is_read = true;
    if (path == NULL || stat(path, &now) != 0 ||
        (now.st_ino == set.file && memcmp(&now.st_mtim, &set.written, sizeof set.written) == 0))
        return;
    set.file = now.st_ino;
    set.written = now.st_mtim;
    read_file(path);
}

static const struct rule *find_rule(const char *name)
{
    for (size_t i = 0; i < set.count; i++)
        if (strcmp(set.rules[i].name, name) == 0)
            return &set.rules[i];
    return NULL;
}

/* Counts the hit; returns its action. */
static enum action take_action(const char *name, long *sleep_ms)
{
    enum action action = ACTION_NONE;
    pthread_mutex_lock(&set.mutex);
    failpoint_read_again();
    struct rule *rule = (struct rule *)find_rule(name);
    if (rule != NULL) {
        rule->hits++;
        *sleep_ms = rule->sleep_ms;
        if (rule->at == 0 || rule->at == rule->hits)
            action = rule->action;
    }
    pthread_mutex_unlock(&set.mutex);
    return action;
}

static void failpoint_sleep(long wait_ms)
{
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

bool failpoint_hit(const char *name)
{
    long sleep_ms = 0;
    enum action action = take_action(name, &sleep_ms);
    if (action == ACTION_NONE)
        return false;
    if (action != ACTION_ERROR)
        dprintf(STDERR_FILENO, "failpoint: %s\n", name);
    if (action == ACTION_KILL)
        kill(getpid(), SIGKILL);
    if (action == ACTION_STOP)
        kill(getpid(), SIGSTOP);
    if (action == ACTION_SLEEP)
        failpoint_sleep(sleep_ms);
    return action == ACTION_ERROR;
}

bool failpoint_is_set(const char *name)
{
    pthread_mutex_lock(&set.mutex);
    failpoint_read_again();
    bool is_set = find_rule(name) != NULL;
    pthread_mutex_unlock(&set.mutex);
    return is_set;
}

#else

typedef int nothing_here; /* a translation unit must not be empty */

#endif
