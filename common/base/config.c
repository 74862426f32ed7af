#include "common/base/alloc.h"
#include "common/base/config.h"

#include <argp.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/json.h"
#include "version.h"

enum {
    NAME_SIZE = 64,
    SECRET_MAX = 500,
    STATUS_USAGE = 2,
    KEY_FIRST = 0x1000, /* argp's key of the first option; of the first file option: */
    KEY_FIRST_FILE = 0x2000,
    KEY_LIST_METRICS = 0x3000
};

/* The source of each option's text, before it is parsed. */
struct reading {
    const struct config *config;
    const char **texts; /* by option */
    const char **files; /* by option; of secrets */
    bool *is_variable;  /* by option: either came from the environment */
    struct bw_error *error;
    enum bw_code code;
};

/* --poll-wait as BROADWAY_POLL_WAIT, with an ending. */
static const char *environment_name(const struct config_option *option, const char *ending,
                                    char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "BROADWAY_%s%s", option->name, ending);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return name;
}

/* The reason why a value is wrong; take_all adds the option and the source. */
static enum bw_code config_refuse(const char *wanted, struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "%s", wanted);
}

static void *config_member(void *values, const struct config_option *option)
{
    return (char *)values + option->offset;
}

/* Text that is allocated here is never freed: options live as long as the process. The list keeps
 * it reachable, for leak checkers. */
static const char *config_keep(char *text)
{
    static struct kept {
        struct kept *next;
        char *text;
    } * all;
    struct kept *kept = bw_alloc(sizeof *kept);
    *kept = (struct kept){all, text};
    all = kept;
    return text;
}

/* Writes "`what` a, b" into `text`. */
static const char *list_choices(const struct config_option *option, const char *what, char *text,
                                size_t size)
{
    size_t length = (size_t)snprintf(text, size, "%s", what);
    for (int i = 0; option->choices[i] != NULL && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s %s", i > 0 ? "," : "",
                                   option->choices[i]);
    return text;
}

/* Whether it begins with one of the allowed prefixes and is longer than the prefix. */
static bool begins_well(const struct config_option *option, const char *text)
{
    for (int i = 0; option->choices[i] != NULL; i++) {
        size_t length = strlen(option->choices[i]);
        if (strncmp(text, option->choices[i], length) == 0 && text[length] != '\0')
            return true;
    }
    return false;
}

/* Placeholders for secrets in samples. */
static bool begins_as_placeholder(const char *text)
{
    static const char *const words[] = {"change-me",  "change_me",  "changeme",
                                        "replace-me", "replace_me", "placeholder"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncasecmp(text, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* Also as a part of a URI: its user, its password, a host. */
static bool is_placeholder(const char *text)
{
    static const char separators[] = ":/@,";
    while (!begins_as_placeholder(text)) {
        text += strcspn(text, separators);
        if (*text++ == '\0')
            return false;
    }
    return true;
}

static enum bw_code config_take_text(const struct config_option *option, const char *text,
                                     void *values, struct bw_error *error)
{
    char wanted[200];
    if (text[0] == '\0')
        return config_refuse("must not be empty", error);
    if (option->kind == CONFIG_SECRET &&
        (strlen(text) > SECRET_MAX || strpbrk(text, " \t\r\n") != NULL))
        return config_refuse("must be at most 500 characters without white space", error);
    if (option->kind == CONFIG_SECRET && is_placeholder(text))
        return config_refuse("is the placeholder of a sample: make a secret of your own", error);
    if (option->choices != NULL && !begins_well(option, text))
        return config_refuse(
            list_choices(option, "must begin, and go on, with one of", wanted, sizeof wanted),
            error);
    *(const char **)config_member(values, option) = text;
    return BW_OK;
}

static enum bw_code take_name(const struct config_option *option, const char *text, void *values,
                              struct bw_error *error)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t length = strlen(text);
    if (length == 0 || length > 60 || strspn(text, allowed) != length)
        return config_refuse("must be 1 to 60 letters, digits, _ or -", error);
    return config_take_text(option, text, values, error);
}

static enum bw_code take_address(const struct config_option *option, const char *text, void *values,
                                 struct bw_error *error)
{
    struct in6_addr address; /* has room for either */
    if (inet_pton(AF_INET, text, &address) != 1 && inet_pton(AF_INET6, text, &address) != 1)
        return config_refuse("must be a numeric address, as 127.0.0.1 or ::1", error);
    return config_take_text(option, text, values, error);
}

static enum bw_code take_number(const struct config_option *option, const char *text, void *values,
                                struct bw_error *error)
{
    char *end, wanted[160];
    errno = 0;
    double number = strtod(text, &end);
    bool is_number = end != text && *end == '\0' && errno == 0 && isfinite(number) &&
                     strpbrk(text, "xXpP \t\n") == NULL;
    bool is_whole = option->kind == CONFIG_MILLISECONDS || (is_number && floor(number) == number);
    if (!is_number || !is_whole || number < option->minimum || number > option->maximum) {
        snprintf(wanted, sizeof wanted, "must be %s from %.15g to %.15g",
                 option->kind == CONFIG_INTEGER ? "a whole number" : "a number of seconds",
                 option->minimum, option->maximum);
        return config_refuse(wanted, error);
    }
    *(int64_t *)config_member(values, option) = option->kind == CONFIG_MILLISECONDS
                                                    ? (int64_t)llround(number * 1000)
                                                    : (int64_t)number;
    return BW_OK;
}

static enum bw_code take_switch(const struct config_option *option, const char *text, void *values,
                                struct bw_error *error)
{
    bool is_on = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!is_on && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return config_refuse("must be true or false", error);
    *(bool *)config_member(values, option) = is_on;
    return BW_OK;
}

static enum bw_code take_choice(const struct config_option *option, const char *text, void *values,
                                struct bw_error *error)
{
    char wanted[200];
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *(int *)config_member(values, option) = i;
            return BW_OK;
        }
    }
    return config_refuse(list_choices(option, "must be one of", wanted, sizeof wanted), error);
}

static enum bw_code config_take_value(const struct config_option *option, const char *text,
                                      void *values, struct bw_error *error)
{
    typedef enum bw_code taker(const struct config_option *, const char *, void *,
                               struct bw_error *);
    static taker *const takers[] = {
        [CONFIG_TEXT] = config_take_text, [CONFIG_NAME] = take_name,
        [CONFIG_ADDRESS] = take_address,  [CONFIG_SECRET] = config_take_text,
        [CONFIG_INTEGER] = take_number,   [CONFIG_MILLISECONDS] = take_number,
        [CONFIG_SWITCH] = take_switch,    [CONFIG_CHOICE] = take_choice,
    };
    return takers[option->kind](option, text, values, error);
}

/* Reads a secret's file, without the line's end. */
static enum bw_code take_file(const struct config_option *option, const char *path, void *values,
                              struct bw_error *error)
{
    char text[SECRET_MAX + 16];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return config_refuse(strerror(errno), error);
    size_t length = fread(text, 1, sizeof text - 1, file);
    int reason = ferror(file) ? errno : 0;
    fclose(file);
    if (reason != 0)
        return config_refuse(strerror(reason), error);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    text[length] = '\0';
    if (length == 0)
        return config_refuse("the file is empty", error);
    if (strlen(text) != length)
        return config_refuse("must not contain NUL", error);
    return config_take_text(option, config_keep(bw_copy(text)), values, error);
}

static void config_list_metrics(const struct config *config)
{
    struct metrics *metrics = config->metrics_new();
    char *text = metrics_text(metrics);
    fputs(text, stdout);
    free(text);
    metrics_free(metrics);
    exit(EXIT_SUCCESS);
}

static error_t config_take_argument(int key, char *text, struct argp_state *state)
{
    struct reading *reading = state->input;
    if (key >= KEY_FIRST_FILE && key < KEY_FIRST_FILE + (int)reading->config->count) {
        reading->files[key - KEY_FIRST_FILE] = text;
        return 0;
    }
    if (key >= KEY_FIRST && key < KEY_FIRST + (int)reading->config->count) {
        reading->texts[key - KEY_FIRST] = text != NULL ? text : "true";
        return 0;
    }
    if (key == KEY_LIST_METRICS)
        config_list_metrics(reading->config);
    if (key == ARGP_KEY_ARG) {
        char shown[80];
        reading->code = bw_fail(reading->error, BW_BAD_REQUEST, "'%s' is not a flag",
                                text_show(text, shown, sizeof shown));
        return EINVAL;
    }
    return ARGP_ERR_UNKNOWN;
}

/* An empty variable counts as not set. */
static const char *read_variable(const struct config_option *option, const char *ending)
{
    char name[NAME_SIZE];
    const char *text = getenv(environment_name(option, ending, name));
    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* The environment provides the options that the command line lacks. */
static void take_environment(struct reading *reading)
{
    for (size_t i = 0; i < reading->config->count; i++) {
        const struct config_option *option = &reading->config->options[i];
        if (reading->texts[i] != NULL || reading->files[i] != NULL)
            continue;
        reading->texts[i] = read_variable(option, "");
        if (option->kind == CONFIG_SECRET)
            reading->files[i] = read_variable(option, "_FILE");
        reading->is_variable[i] = reading->texts[i] != NULL || reading->files[i] != NULL;
    }
}

/* The source of each option's value, for later sentences. */
static struct source {
    struct source *next;
    const char *option, *name;
} * sources;

static void note_source(const char *option, const char *name)
{
    struct source *source = bw_alloc(sizeof *source);
    *source = (struct source){sources, option, name};
    sources = source;
}

const char *config_source(const char *option)
{
    for (const struct source *source = sources; source != NULL; source = source->next)
        if (strcmp(source->option, option) == 0)
            return source->name;
    const char *flag = config_keep(bw_format("--%s", option)); /* only in tests: none were read */
    note_source(option, flag);
    return flag;
}

/* "--port", "BROADWAY_PORT", "--client-token-file", "BROADWAY_CLIENT_TOKEN_FILE". */
static const char *source_name(const struct reading *reading, size_t i)
{
    const struct config_option *option = &reading->config->options[i];
    bool is_file = reading->files[i] != NULL;
    char name[NAME_SIZE];
    return config_keep(reading->is_variable[i]
                           ? bw_copy(environment_name(option, is_file ? "_FILE" : "", name))
                           : bw_format("--%s%s", option->name, is_file ? "-file" : ""));
}

/* The sentence has the flag as it was written, or the variable's name. */
static enum bw_code refuse_source(const struct reading *reading, size_t i, const char *source,
                                  const struct bw_error *reason)
{
    char shown[120];
    const char *text = reading->texts[i], *file = reading->files[i];
    bool is_secret = reading->config->options[i].kind == CONFIG_SECRET;
    if (file != NULL)
        return bw_fail(reading->error, BW_BAD_REQUEST, "%s %s: %s", source,
                       text_show(file, shown, sizeof shown), reason->message);
    const char *value = is_secret ? "(not shown)" : text_show(text, shown, 80);
    if (!reading->is_variable[i])
        return bw_fail(reading->error, BW_BAD_REQUEST, "%s %s: %s", source, value, reason->message);
    if (is_secret)
        return bw_fail(reading->error, BW_BAD_REQUEST, "%s: %s", source, reason->message);
    return bw_fail(reading->error, BW_BAD_REQUEST, "%s: %s, not '%s'", source, reason->message,
                   value);
}

static enum bw_code refuse_both(const struct reading *reading, size_t i)
{
    const struct config_option *option = &reading->config->options[i];
    char text[NAME_SIZE], file[NAME_SIZE];
    environment_name(option, "", text);
    environment_name(option, "_FILE", file);
    if (reading->is_variable[i])
        return bw_fail(reading->error, BW_BAD_REQUEST, "%s and %s are both given: give one of them",
                       text, file);
    return bw_fail(reading->error, BW_BAD_REQUEST,
                   "--%s and --%s-file are both given: give one of them", option->name,
                   option->name);
}

static enum bw_code take_one(const struct reading *reading, size_t i, void *values)
{
    const struct config_option *option = &reading->config->options[i];
    const char *text = reading->texts[i], *file = reading->files[i];
    struct bw_error reason;
    if (text != NULL && file != NULL)
        return refuse_both(reading, i);
    const char *source = source_name(reading, i);
    note_source(option->name, source);
    if (text == NULL && file == NULL)
        text = option->standard;
    enum bw_code code = BW_OK;
    if (file != NULL)
        code = take_file(option, file, values, &reason);
    else if (text != NULL)
        code = config_take_value(option, text, values, &reason);
    return code == BW_OK ? BW_OK : refuse_source(reading, i, source, &reason);
}

static enum bw_code take_all(const struct reading *reading, void *values)
{
    enum bw_code code = BW_OK;
    for (size_t i = 0; code == BW_OK && i < reading->config->count; i++)
        code = take_one(reading, i, values);
    return code;
}

/* ---- Input of argp ---- */

static const char *option_help(const struct config_option *option)
{
    char name[NAME_SIZE];
    environment_name(option, "", name);
    return config_keep(option->standard != NULL
                           ? bw_format("%s (default %s; %s)", option->help, option->standard, name)
                           : bw_format("%s (no default; %s)", option->help, name));
}

static const char *file_name(const struct config_option *option)
{
    return config_keep(bw_format("%s-file", option->name));
}

/* The table in argp's form: new. */
static struct argp_option *argp_table(const struct config *config)
{
    struct argp_option *table = bw_alloc_array(2 * config->count + 2, sizeof *table), *row = table;
    for (size_t i = 0; i < config->count; i++) {
        const struct config_option *option = &config->options[i];
        bool is_switch = option->kind == CONFIG_SWITCH;
        *row++ = (struct argp_option){.name = option->name,
                                      .key = KEY_FIRST + (int)i,
                                      .arg = is_switch ? "true|false" : option->value_name,
                                      .flags = is_switch ? OPTION_ARG_OPTIONAL : 0,
                                      .doc = option_help(option)};
        if (option->kind == CONFIG_SECRET)
            *row++ = (struct argp_option){.name = file_name(option),
                                          .key = KEY_FIRST_FILE + (int)i,
                                          .arg = "PATH",
                                          .doc = "The same, read from a file"};
    }
    if (config->metrics_new != NULL)
        *row = (struct argp_option){.name = "list-metrics",
                                    .key = KEY_LIST_METRICS,
                                    .flags = OPTION_NO_USAGE, /* takes no value */
                                    .doc = "Print all metrics, and end"};
    return table;
}

static const struct argp_option *find_flag(const struct argp_option *table, const char *name,
                                           size_t length)
{
    for (; table->name != NULL; table++)
        if (strlen(table->name) == length && strncmp(table->name, name, length) == 0)
            return table;
    return NULL;
}

/* argp accepts abbreviations and prints errors in its own format, so flags are checked before argp
 * parses them. Only the name of an unknown flag is shown: its value may be a secret. */
static enum bw_code check_flags(int count, char **arguments, const struct argp_option *table,
                                struct bw_error *error)
{
    static const char *const argps[] = {"--help", "-?", "--usage", "--version", "-V"};
    char shown[80];
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i];
        bool is_argps = false;
        for (size_t k = 0; k < sizeof argps / sizeof *argps; k++)
            is_argps = is_argps || strcmp(argument, argps[k]) == 0;
        if (argument[0] != '-' || is_argps)
            continue; /* arguments that are not flags are refused in take_argument */
        size_t length = strcspn(argument, "=");
        const struct argp_option *row = strncmp(argument, "--", 2) == 0
                                            ? find_flag(table, argument + 2, length - 2)
                                            : NULL;
        if (row == NULL || (row->key == KEY_LIST_METRICS && argument[length] == '=')) {
            snprintf(shown, sizeof shown, "%.*s", length < 60 ? (int)length : 60, argument);
            char safe[160];
            return bw_fail(error, BW_BAD_REQUEST, "there is no flag '%s' (see --help)",
                           text_show(shown, safe, sizeof safe));
        }
        bool takes_next = row->flags == 0 && argument[length] == '\0';
        if (takes_next && ++i >= count)
            return bw_fail(error, BW_BAD_REQUEST, "--%s needs a value", row->name);
    }
    return BW_OK;
}

static void set_version(const struct config *config)
{
    argp_program_version = config_keep(
        bw_format("%s " BROADWAY_VERSION " (" BROADWAY_REVISION ")", config->program));
}

static enum bw_code config_read_all(struct reading *reading, int count, char **arguments,
                                    void *values)
{
    argp_err_exit_status = STATUS_USAGE;
    set_version(reading->config);
    struct argp_option *table = argp_table(reading->config);
    struct argp argp = {
        .options = table, .parser = config_take_argument, .doc = reading->config->purpose};
    reading->code = check_flags(count, arguments, table, reading->error);
    if (reading->code == BW_OK &&
        argp_parse(&argp, count, arguments, ARGP_IN_ORDER, NULL, reading) != 0 &&
        reading->code == BW_OK)
        reading->code = bw_fail(reading->error, BW_BAD_REQUEST,
                                "the flags can't be read (see --help)");
    free(table);
    if (reading->code != BW_OK)
        return reading->code;
    take_environment(reading);
    return take_all(reading, values);
}

enum bw_code config_read(const struct config *config, int count, char **arguments, void *values,
                         struct bw_error *error)
{
    struct reading reading = {.config = config, .error = error, .code = BW_OK};
    reading.texts = bw_alloc_array(config->count, sizeof *reading.texts);
    reading.files = bw_alloc_array(config->count, sizeof *reading.files);
    reading.is_variable = bw_alloc_array(config->count, sizeof *reading.is_variable);
    enum bw_code code = config_read_all(&reading, count, arguments, values);
    free(reading.texts);
    free(reading.files);
    free(reading.is_variable);
    return code;
}
